"""Samples of a data set as pictures: as loaded, and as the model gets them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.errors import ArgumentError
from mm2pl.registry import VISUALIZERS
from mm2pl.visualization.png import write_png
from mm2pl.visualization.vis_backend import BaseVisBackend
from mm2pl.visualization.visualizer import Visualizer

if TYPE_CHECKING:
    import numpy.typing as npt

    Picture = npt.NDArray[np.uint8]
    """Of shape ``(H, W, 3)``, in RGB."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One sample.

    Args:
        index: Its number in the data set; None where samples have no numbers.
        parts: What it holds: path → kind, shape and range.
        after: The picture that the model gets, with its annotations; None where there is none.
        before: The picture as it was loaded; None where that cannot be known.
        label: The name or number of its class, or an empty text.
    """

    index: int | None
    parts: dict[str, str]
    after: Picture | None
    before: Picture | None
    label: str

    def as_dict(self) -> dict[str, Any]:
        """Return what is not a picture, as plain data."""
        return {"index": self.index, "label": self.label, "parts": self.parts}


def samples(
    loader: Any, count: int, visualizer: Mapping[str, Any] | None = None, *, bgr: bool = False
) -> list[Sample]:
    """Return the first samples of a loader, in the order of its sampler.

    Args:
        loader: A DataLoader. Nothing is collated, and no worker is started.
        count: How many.
        visualizer: The config of what draws the annotations, by its ``add_datasample``.
        bgr: Whether pictures have their channels in OpenCV's order.
    """
    dataset = loader.dataset
    metainfo = getattr(dataset, "metainfo", None) or {}
    drawing = Annotations(visualizer, metainfo)
    found = []
    for index, item in itertools.islice(_items(loader), count):
        after, before = picture_of(item, bgr=bgr), None
        if index is not None:
            before = picture_of(loaded(dataset, index), bgr=bgr)
        annotations = item.get("data_samples") if isinstance(item, Mapping) else None
        if after is not None and annotations is not None:
            after = drawing.on(after, annotations)
        label = label_of(item, metainfo)
        parts = dict(described(item))
        found.append(Sample(index=index, parts=parts, after=after, before=before, label=label))
    return found


def _items(loader: Any) -> Iterator[tuple[int | None, Any]]:
    dataset = loader.dataset
    if not hasattr(dataset, "__getitem__") or loader.batch_sampler is None:
        yield from ((None, item) for item in dataset)
        return
    # Some group by batches, such as by aspect ratio.
    for index in itertools.chain.from_iterable(loader.batch_sampler):
        yield index, dataset[index]


def loaded(dataset: Any, index: int) -> Any:
    """Return what the pipeline of a data set has made when there is a picture for the first time; None if never.

    Data sets that hold others are followed to the one that has the sample.
    """
    while hasattr(dataset, "_get_ori_dataset_idx"):
        inner = dataset._get_ori_dataset_idx(index)
        if isinstance(inner, tuple):
            dataset, index = dataset.datasets[inner[0]], inner[1]
        else:
            dataset, index = dataset.dataset, inner
    pipeline: Any = getattr(dataset, "pipeline", None)
    if not (hasattr(pipeline, "transforms") and hasattr(dataset, "get_data_info")):
        return None
    results = dataset.get_data_info(index)
    for transform in pipeline.transforms:
        results = transform(results)
        # A transform may refuse a sample, and the data set then takes another.
        if not isinstance(results, Mapping):
            return None
        if picture_of(results) is not None:
            return results
    return None


def picture_of(item: Any, *, bgr: bool = False) -> Picture | None:
    """Return the picture in a sample: its ``inputs`` or ``img``, the first of a tuple, or what it is itself.

    Tensors are ``(C, H, W)``, arrays ``(H, W, C)`` or both ``(H, W)``, with 1 or 3 channels. Numbers that are not bytes
    are scaled from their smallest to their largest.

    >>> picture_of((torch.arange(12.0).reshape(1, 3, 4), 7)).shape
    (3, 4, 3)
    >>> picture_of({"inputs": torch.zeros(5)}) is None
    True
    """
    if isinstance(item, Mapping):
        names = [name for name in ("inputs", "img", "image", "imgs") if name in item]
        # A sample of several pictures has them by name.
        names = names or [name for name in item if isinstance(item[name], torch.Tensor)]
        found = (picture_of(item[name], bgr=bgr) for name in names)
        return next((each for each in found if each is not None), None)
    if isinstance(item, Sequence) and not isinstance(item, str):
        return picture_of(item[0], bgr=bgr) if item else None
    if isinstance(item, torch.Tensor):
        values = item.detach().cpu().float() if item.is_floating_point() else item.detach().cpu()
        array = values.numpy()
        array = array.transpose(1, 2, 0) if array.ndim == 3 else array
    elif isinstance(item, np.ndarray):
        array = item
    else:
        return None
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[2] not in (1, 3) or array.dtype.kind not in "biuf":
        return None
    if not array.size:
        return None
    array = _as_bytes(array)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    return np.ascontiguousarray(array[:, :, ::-1] if bgr else array)


def _as_bytes(array: np.ndarray) -> Picture:
    if array.dtype == np.uint8:
        return array
    values = np.nan_to_num(array.astype(np.float64), posinf=0.0, neginf=0.0)
    low, high = values.min(), values.max()
    scaled = (values - low) / (high - low) * 255 if high > low else np.zeros_like(values)
    return scaled.astype(np.uint8)


def label_of(item: Any, metainfo: Mapping[str, Any]) -> str:
    """Return the class of a sample by its name, or by its number where nobody names it; an empty text without one.

    >>> label_of((None, torch.tensor(1)), {"classes": ("cat", "dog")})
    'dog'
    """
    if isinstance(item, Mapping):
        holder = item.get("data_samples")
        named = (item.get(name) for name in ("labels", "label", "gt_label", "target"))
        found: Any = getattr(holder, "gt_label", None)
        found = found if found is not None else next((n for n in named if n is not None), None)
    else:
        found = item[1] if isinstance(item, tuple) and len(item) > 1 else None
    # MMPretrain had a LabelData with its number in `label`.
    found = getattr(found, "label", found)
    if isinstance(found, torch.Tensor | np.ndarray):
        found = found.reshape(-1).tolist()
    numbers = found if isinstance(found, list) else [found]
    if not numbers or not all(isinstance(number, int) for number in numbers):
        return ""
    names = metainfo.get("classes") or metainfo.get("CLASSES") or ()
    return ", ".join(str(names[n]) if 0 <= n < len(names) else str(n) for n in numbers)


def described(item: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield path and description of each array and value in a sample.

    >>> dict(described({"inputs": torch.zeros(2, 3), "labels": 4}))
    {'inputs': 'float32 (2, 3), 0 to 0', 'labels': 'int 4'}
    """
    if isinstance(item, Mapping):
        for name, value in item.items():
            yield from described(value, f"{path}.{name}" if path else str(name))
    elif isinstance(item, list | tuple):
        for number, value in enumerate(item):
            yield from described(value, f"{path}.{number}" if path else str(number))
    elif isinstance(item, torch.Tensor | np.ndarray):
        kind = str(item.dtype).removeprefix("torch.")
        size = tuple(item.shape)
        values = torch.as_tensor(item) if kind not in ("object",) else torch.zeros(0)
        spread = "" if not values.numel() else f", {_short(values.min())} to {_short(values.max())}"
        yield path or "sample", f"{kind} {size}{spread}"
    elif isinstance(item, int | float | str | bool):
        yield path or "sample", f"{type(item).__name__} {item!r}"
    else:
        yield path or "sample", type(item).__name__


def _short(value: torch.Tensor) -> str:
    return f"{value.item():.4g}"


_NUMBERS = itertools.count()


class Annotations:
    """Draw what a data sample says, with the visualizer of a config.

    Args:
        config: Its ``visualizer``; its backends are left out, since nothing is to be stored.
        metainfo: Of the data set, such as the names and colours of classes.
    """

    def __init__(self, config: Mapping[str, Any] | None, metainfo: Mapping[str, Any]) -> None:
        self._caught = _Caught()
        own = {"type": Visualizer, **(config or {})}
        own |= {
            "name": f"browse {next(_NUMBERS)}",
            "vis_backends": [self._caught],
            "save_dir": None,
        }
        self._visualizer: Any = VISUALIZERS.build(own)
        if metainfo:
            self._visualizer.dataset_meta = dict(metainfo)

    def on(self, picture: Picture, data_sample: Any) -> Picture:
        """Return the picture with its annotations; as it is where the visualizer draws none."""
        self._caught.picture = picture
        self._visualizer.add_datasample(
            "sample", picture, data_sample, draw_gt=True, draw_pred=False
        )
        return self._caught.picture


class _Caught(BaseVisBackend):
    """Keep the picture that a visualizer would store."""

    picture: Any = None

    def __init__(self, save_dir: str | None = None) -> None:
        super().__init__(save_dir)  # its default says that it needs none

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        self.picture = np.asarray(image, dtype=np.uint8)


def grid(found: Sequence[Sample], path: str | Path, title: str = "") -> None:
    """Write pictures of samples into one: a column per sample, as loaded above, as the model gets it below.

    Raises:
        ArgumentError: No sample has a picture.
    """
    from matplotlib.figure import Figure

    seen = [sample for sample in found if sample.after is not None]
    if not seen:
        raise ArgumentError("no sample holds a picture → without --out their content is listed")
    wide = min(len(seen), _COLUMNS)
    both = any(sample.before is not None for sample in seen)
    tall = (1 + both) * -(-len(seen) // wide)
    figure = Figure(figsize=(2.2 * wide, 2.5 * tall + 0.4), layout="constrained")
    axes = figure.subplots(tall, wide, squeeze=False)
    for each in axes.flat:
        each.set_axis_off()
    for number, sample in enumerate(seen):
        row, column = divmod(number, wide)
        pictures = [sample.before, sample.after] if both else [sample.after]
        for below, picture in enumerate(pictures):
            axis = axes[(1 + both) * row + below, column]
            if picture is not None:
                axis.imshow(picture, interpolation="nearest")
        name = f"{sample.index}" if sample.index is not None else f"{number}"
        axes[(1 + both) * row, column].set_title(
            f"{name}  {sample.label}".rstrip(), fontsize=9, loc="left"
        )
    words = "above as loaded, below as the model gets it" if both else "as the model gets it"
    figure.suptitle(f"{title}: {words}" if title else words, fontsize=10)
    figure.savefig(path)


_COLUMNS = 8


def write_each(found: Iterable[Sample], folder: Path) -> list[Path]:
    """Write each sample's pictures by themselves into a folder, and return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for number, sample in enumerate(found):
        name = number if sample.index is None else sample.index
        for kind, picture in (("loaded", sample.before), ("input", sample.after)):
            if picture is not None:
                written.append(folder / f"{name}_{kind}.png")
                write_png(written[-1], picture)
    return written


def as_text(found: Sequence[Sample]) -> str:
    """Return a line per sample and part of it."""
    lines = []
    for number, sample in enumerate(found):
        name = number if sample.index is None else sample.index
        lines.append(f"sample {name}" + (f": {sample.label}" if sample.label else ""))
        wide = max(map(len, sample.parts), default=0)
        lines += [f"    {path:<{wide}}  {words}" for path, words in sample.parts.items()]
    return "\n".join(lines) or "the data set is empty"
