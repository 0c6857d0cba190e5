"""Pipelines of the toolboxes: what the migration guide's table shows, with a note; the rest needs the user."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mm2pl.mmcv.migration.toolboxes import Toolbox

Transform = dict[str, Any]
Noted = list[str]

_RENAMED_ARGUMENTS: dict[str, dict[str, str]] = {
    "RandomFlip": {"flip_ratio": "prob", "flip_prob": "prob"},
    "RandomResizedCrop": {"size": "scale"},
    # MMDetection 2's name is misleading: it is the probability of a shift.
    "RandomShift": {"shift_ratio": "prob"},
    "SegRescale": {"scale_factor": "scale_factor"},
    "LoadImageFromFile": {"file_client_args": "backend_args"},
    "LoadAnnotations": {"file_client_args": "backend_args"},
}
# A wrong guess would train without a message, so the user decides.
_NEEDS_YOU = frozenset(
    {
        *("LoadProposals", "InstaBoost", "Translate", "Shear", "Rotate", "Albu", "RandomGrayscale"),
        *("BrightnessTransform", "ColorTransform", "ContrastTransform", "EqualizeTransform"),
        *("LoadMultiChannelImageFromFiles", "LoadImageFromWebcam", "ToTensor", "ToDataContainer"),
        *("Transpose", "ToNumpy", "ToPIL", "Lighting"),
    }
)
_DROPPED = frozenset({"DefaultFormatBundle", "ImageToTensor", "Normalize"})


def migrate_pipeline(
    pipeline: Sequence[Mapping[str, Any]], toolbox: Toolbox, notes: Noted, needs: Noted
) -> list[Any]:
    """Return the pipeline in the newer generation's names.

    Args:
        pipeline: Transforms of the old generation; not changed.
        toolbox: Whose transforms they are.
        notes: What was done is appended here.
        needs: What the user must do is appended here.
    """
    migrated: list[Any] = []
    for transform in pipeline:
        if not isinstance(transform, Mapping) or "type" not in transform:
            migrated.append(transform)
            continue
        kind = transform["type"]
        # MMClassification 0.x' ToTensor only wraps the label, which PackInputs does now.
        if kind in _NEEDS_YOU and not (kind == "ToTensor" and toolbox.scope == "mmpretrain"):
            needs.append(f"{kind} has another signature or no successor in {toolbox.scope}")
        special = _SPECIAL.get(kind)
        if special is not None:
            migrated += special(dict(transform), toolbox, notes, needs)
        else:
            inner = _nested(transform, toolbox, notes, needs)
            migrated.append(_renamed({**transform, **inner} if inner else transform, notes))
    return migrated


def _nested(
    transform: Mapping[str, Any], toolbox: Toolbox, notes: Noted, needs: Noted
) -> dict[str, Any]:
    """Return the arguments that hold transforms themselves, such as AutoAugment's policies, migrated."""
    # Its transforms are those of albumentations, which did not change.
    if transform["type"] == "Albu":
        return {}
    changed = {}
    for key, value in transform.items():
        if not (isinstance(value, list) and value):
            continue
        if all(isinstance(v, Mapping) and "type" in v for v in value):
            new: list[Any] = migrate_pipeline(value, toolbox, notes, needs)
        # AutoAugment has a list of policies, each a list of transforms.
        elif all(isinstance(v, list) and v and isinstance(v[0], Mapping) for v in value):
            new = [migrate_pipeline(v, toolbox, notes, needs) for v in value]
        else:
            continue
        if new != value:
            changed[key] = new
    return changed


def _renamed(transform: Mapping[str, Any], notes: Noted) -> Mapping[str, Any]:
    names = _RENAMED_ARGUMENTS.get(transform["type"], {})
    hits = {old: new for old, new in names.items() if old in transform and old != new}
    if not hits:
        return transform
    notes += [f"{transform['type']}: {old} → {new}" for old, new in hits.items()]
    return {hits.get(key, key): value for key, value in transform.items()}


def _drop(transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted) -> list[Transform]:
    if transform["type"] == "Normalize":
        notes.append("Normalize → data_preprocessor")
    return []


def _pad(transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted) -> list[Transform]:
    # The preprocessor pads whole batches, after the transforms.
    if "size_divisor" in transform:
        notes.append("Pad(size_divisor) → data_preprocessor")
        return []
    # MMSegmentation 0.x pads to a fixed size in training only; SegDataPreProcessor has `size` for that.
    if toolbox.scope == "mmseg":
        notes.append("Pad(size) → data_preprocessor")
        return []
    # MMDetection 2 has deprecated a bare number.
    if not isinstance(transform.get("pad_val", {}), Mapping):
        notes.append("Pad: pad_val → pad_val['img']")
        transform["pad_val"] = {"img": transform["pad_val"]}
    return [transform]


def _collect(transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted) -> list[Transform]:
    notes.append(f"DefaultFormatBundle, Collect → {toolbox.pack}")
    pack: Transform = {"type": toolbox.pack}
    if "meta_keys" in transform:
        # MMEngine's data samples have one path, and no trace of the normalisation.
        renamed = {"filename": "img_path", "ori_filename": "img_path"}
        dropped = {"img_norm_cfg", "pad_shape"}
        keys = [renamed.get(key, key) for key in transform["meta_keys"] if key not in dropped]
        pack["meta_keys"] = tuple(dict.fromkeys(keys))
    return [pack]


def _to_tensor(
    transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted
) -> list[Transform]:
    return [] if toolbox.scope == "mmpretrain" else [transform]


def _resize(transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted) -> list[Transform]:
    if toolbox.scope == "mmpretrain":
        return _resize_for_classification(transform, notes)
    if "img_scale" not in transform:
        if "ratio_range" in transform:
            needs.append("Resize(ratio_range) without img_scale needs RandomResize(scale=…)")
        return [transform]
    scale = transform.pop("img_scale")
    mode = transform.pop("multiscale_mode", "range")
    ratio = transform.get("ratio_range")
    # True is the default of 1.x' Resize; MMCV 2's is False.
    transform.setdefault("keep_ratio", True)
    # 1.x decides by the form of the argument what MMCV 2 has three transforms for.
    if isinstance(scale, list) and len(scale) > 1:
        kind, name = (
            ("RandomChoiceResize", "scales") if mode == "value" else ("RandomResize", "scale")
        )
    else:
        scale = scale[0] if isinstance(scale, list) and scale else scale
        kind, name = ("RandomResize" if ratio else "Resize", "scale")
        if ratio is None:
            transform.pop("ratio_range", None)
    notes.append(f"Resize: img_scale → {kind}({name})")
    if transform.pop("override", None) is not None:
        needs.append("Resize(override) has no successor")
    return [_ordered(kind, {name: scale}, transform)]


def _ordered(kind: str, first: Transform, rest: Transform) -> Transform:
    return {"type": kind, **first, **{k: v for k, v in rest.items() if k != "type"}}


def _resize_for_classification(transform: Transform, notes: Noted) -> list[Transform]:
    size = transform.pop("size", None)
    # -1 keeps the ratio and fits the short side in MMClassification 0.x.
    if isinstance(size, Sequence) and len(size) == 2 and size[1] == -1:
        notes.append("Resize(size=(n, -1)) → ResizeEdge")
        return [_ordered("ResizeEdge", {"scale": size[0], "edge": "short"}, transform)]
    if size is not None:
        notes.append("Resize: size → scale")
        transform = _ordered("Resize", {"scale": size}, transform)
    return [transform]


def _test_time(
    transform: Transform, toolbox: Toolbox, notes: Noted, needs: Noted
) -> list[Transform]:
    """Unwrap MultiScaleFlipAug: its first scale, unflipped, is the plain test."""
    scale = transform.get("img_scale")
    if isinstance(scale, list) and scale:
        scale = scale[0]
    inner: list[Transform] = []
    for step in transform.get("transforms", ()):
        # 1.x' RandomFlip obeys a flag that MultiScaleFlipAug sets. It has no probability of its own here.
        if step.get("type") in ("RandomFlip",):
            continue
        # MultiScaleFlipAug hands its scale to the Resize inside.
        if step.get("type") == "Resize" and scale is not None and "img_scale" not in step:
            step = {
                "type": "Resize",
                "img_scale": scale,
                **{k: v for k, v in step.items() if k != "type"},
            }
        inner.append(step)
    several = isinstance(transform.get("img_scale"), list) and len(transform["img_scale"]) > 1
    if transform.get("flip") or several or transform.get("img_ratios"):
        needs.append(
            "MultiScaleFlipAug with several scales or flips: the plain test remains; write "
            "tta_model and tta_pipeline, and test with --tta"
        )
    notes.append("MultiScaleFlipAug unwrapped")
    migrated = migrate_pipeline(inner, toolbox, notes, needs)
    # 1.x' data sets read the annotations themselves to evaluate. Just before packing, so that they are not resized.
    if toolbox.loads_annotations and migrated and migrated[-1].get("type") == toolbox.pack:
        notes.append("LoadAnnotations added for the metric")
        migrated.insert(len(migrated) - 1, dict(toolbox.loads_annotations))
    return migrated


_SPECIAL: dict[str, Callable[[Transform, Toolbox, Noted, Noted], list[Transform]]] = {
    **dict.fromkeys(_DROPPED, _drop),
    "Pad": _pad,
    "Collect": _collect,
    "Resize": _resize,
    "ToTensor": _to_tensor,
    "MultiScaleFlipAug": _test_time,
}


def find_preprocessor(pipelines: Sequence[Any], toolbox: Toolbox) -> dict[str, Any]:
    """Return the data preprocessor that the ``Normalize`` and ``Pad`` of the pipelines amount to."""
    found: dict[str, Any] = {}
    masks = False
    for transform in walk_transforms(pipelines):
        kind = transform.get("type")
        # The first one counts: the model has one preprocessor for all splits.
        if kind == "Normalize" and not found:
            found = {k: transform[k] for k in ("mean", "std") if k in transform}
            # 1.x' Normalize converts unless told otherwise; MMEngine's preprocessors do not.
            found["bgr_to_rgb"] = transform.get("to_rgb", True)
        masks |= kind == "LoadAnnotations" and bool(transform.get("with_mask"))
    if not found:
        return {}
    padding: dict[str, Any] = {}
    for transform in walk_transforms(pipelines):
        if transform.get("type") != "Pad":
            continue
        if "size_divisor" in transform and toolbox.scope == "mmdet":
            padding.setdefault("pad_size_divisor", transform["size_divisor"])
        elif toolbox.scope == "mmseg" and "size" in transform:
            padding.setdefault("size", transform["size"])
    # 1.x' Pad padded the masks too.
    if toolbox.scope == "mmdet" and masks:
        padding = {"pad_mask": True, **padding}
    if toolbox.scope == "mmseg":
        # Written out, as in the released configs of MMSegmentation 1.
        padding = {"pad_val": 0, "seg_pad_val": 255, **padding}
    if toolbox.scope == "mmpretrain":
        # MMPretrain's preprocessor has another name for it.
        found["to_rgb"] = found.pop("bgr_to_rgb")
    return {"type": toolbox.preprocessor, **found, **padding}


def walk_transforms(value: object) -> list[Mapping[str, Any]]:
    """Return every dict with a ``type`` in nested lists and dicts, outer ones first."""
    if isinstance(value, Mapping):
        own = [value] if "type" in value else []
        return own + [t for child in value.values() for t in walk_transforms(child)]
    if isinstance(value, list | tuple):
        return [t for child in value for t in walk_transforms(child)]
    return []
