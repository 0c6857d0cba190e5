"""DataContainers, and wrappers that put them on the device; stands for `mmcv.parallel`.

The wrappers here only unpack and move data: processes, devices and gradient synchronisation are the Trainer's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import default_collate

from mm2pl.mmcv.deep import serve
from mm2pl.registry import Registry

# 1.x projects register wrappers of their own here, and MMCV's checkpoints and hooks then look inside them.
MODULE_WRAPPERS = Registry("module wrapper", scope="mmcv")
"""Wrappers around a model, which have it as ``.module``."""


class DataContainer:
    """One field of a sample, with how a batch of it is made.

    Args:
        data: The value.
        stack: Whether samples are padded to one size and stacked.
        padding_value: What they are padded with.
        cpu_only: Whether the batch stays a list on the CPU, such as meta information.
        pad_dims: How many of the last dimensions are padded, 1 to 3; None for none.

    Raises:
        ValueError: ``pad_dims`` is none of the possible ones.
    """

    def __init__(
        self,
        data: Any,
        stack: bool = False,
        padding_value: float = 0,
        cpu_only: bool = False,
        pad_dims: int | None = 2,
    ) -> None:
        if pad_dims not in (None, 1, 2, 3):
            raise ValueError(f"pad_dims={pad_dims!r} must be None, 1, 2 or 3.")
        self.data = data
        self.stack = stack
        self.padding_value = padding_value
        self.cpu_only = cpu_only
        self.pad_dims = pad_dims

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.data!r})"

    def __len__(self) -> int:
        return len(self.data)

    @property
    def datatype(self) -> Any:
        """The tensor's type as a string, or the type of other data."""
        # A string for tensors, such as 'torch.FloatTensor': MMCV 1.7.2 does so.
        return self.data.type() if isinstance(self.data, Tensor) else type(self.data)

    def size(self, *args: Any) -> Any:
        """Return the tensor's size."""
        return self._tensor("size").size(*args)

    def dim(self) -> int:
        """Return the tensor's number of dimensions."""
        return self._tensor("dim").dim()

    def _tensor(self, name: str) -> Tensor:
        if not isinstance(self.data, Tensor):
            raise AttributeError(
                f"{type(self).__name__} of {self.datatype} has no attribute {name!r}."
            )
        return self.data


def collate(batch: Sequence[Any], samples_per_gpu: int = 1) -> Any:
    """Make a batch of samples, whose fields may be `DataContainer`s.

    Args:
        batch: The samples: containers, mappings, sequences, or what torch collates.
        samples_per_gpu: A container's batch is a list with one entry per so many samples.

    Raises:
        TypeError: ``batch`` is not a sequence.

    Example:
        >>> collate([DataContainer(torch.ones(1, 2, 2), stack=True)] * 2, samples_per_gpu=2).data[0].shape
        torch.Size([2, 1, 2, 2])
    """
    if not isinstance(batch, Sequence):
        raise TypeError(f"batch={batch!r} must be a sequence of samples.")
    first = batch[0]
    if isinstance(first, DataContainer):
        # MMCV 1.x' DataParallel gave one group to each GPU. So even on one device a batch is a list of groups.
        groups = [batch[i : i + samples_per_gpu] for i in range(0, len(batch), samples_per_gpu)]
        # `cpu_only` wins over `stack`, as in MMCV 1.7.2.
        if first.stack and not first.cpu_only:
            data: list[Any] = [_stacked(group) for group in groups]
        else:
            data = [[sample.data for sample in group] for group in groups]
        return DataContainer(data, first.stack, first.padding_value, cpu_only=first.cpu_only)
    # A str is a sequence of strs: MMCV 1.7.2 recurses without end there, so 1.x pipelines wrap names in containers.
    if isinstance(first, Sequence) and not isinstance(first, str | bytes):
        return [collate(fields, samples_per_gpu) for fields in zip(*batch, strict=True)]
    if isinstance(first, Mapping):
        return {key: collate([sample[key] for sample in batch], samples_per_gpu) for key in first}
    return default_collate(list(batch))


def _stacked(group: Sequence[DataContainer]) -> Tensor:
    first = group[0]
    if first.pad_dims is None:
        return default_collate([sample.data for sample in group])
    # MMCV 1.7.2 wants at least one dimension before the padded ones: the channels.
    kept = first.dim() - first.pad_dims
    shapes = [sample.size() for sample in group]
    if kept < 1 or any(shape[:kept] != shapes[0][:kept] for shape in shapes):
        raise ValueError(
            f"samples of the shapes {[tuple(shape) for shape in shapes]} differ before their last "
            f"{first.pad_dims} dimensions → only those are padded (pad_dims)."
        )
    largest = [max(shape[-dim] for shape in shapes) for dim in range(1, first.pad_dims + 1)]
    padded = []
    for sample in group:
        # `pad` counts dimensions from the last one. Only the far side grows, so that boxes keep their coordinates.
        pad = [n for dim, size in enumerate(largest, 1) for n in (0, size - sample.size(-dim))]
        padded.append(functional.pad(sample.data, pad, value=sample.padding_value))
    return default_collate(padded)


def scatter(inputs: object, target_gpus: Sequence[Any], dim: int = 0) -> list[Any]:
    """Unpack the containers and move tensors to one device; return a list with that one result.

    Args:
        inputs: Nested data.
        target_gpus: One index of a GPU, ``-1`` for the CPU, or a ``torch.device``.
        dim: Unused; kept for MMCV's callers.

    Raises:
        ValueError: There is more than one device.
    """
    # MMCV 1.7.2 spreads the groups over several GPUs here, which nn.DataParallel then trains in threads.
    if len(target_gpus) != 1:
        raise ValueError(
            f"target_gpus={target_gpus!r} → one process computes on one device; use "
            "MMDistributedDataParallel and a launcher for several."
        )
    return [_moved(inputs, _device(target_gpus[0]))]


def scatter_kwargs(
    inputs: Any, kwargs: Any, target_gpus: Sequence[Any], dim: int = 0
) -> tuple[tuple, tuple]:
    """Do `scatter` for positional and keyword arguments."""
    args = tuple(scatter(tuple(inputs), target_gpus)[0])
    return (args,), (scatter(dict(kwargs), target_gpus)[0],)


def _device(target: Any) -> torch.device:
    if isinstance(target, torch.device):
        return target
    # -1 is MMCV 1.7.2's name for the CPU.
    return torch.device("cpu") if target in (-1, "cpu") else torch.device("cuda", target)


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        # The loader may have pinned the memory; the copy then overlaps with the computation before it.
        return value.to(device, non_blocking=True)
    if isinstance(value, DataContainer):
        # More groups come from a `samples_per_gpu` that is smaller
        # than the batch: taking the first would lose samples.
        if len(value.data) != 1:
            raise ValueError(
                f"a batch has {len(value.data)} groups of samples, but one process has one device → collate with "
                "samples_per_gpu = the loader's batch_size."
            )
        # MMCV 1.7.2 hands meta information out as it is; tensors inside stay on the CPU.
        return value.data[0] if value.cpu_only else _moved(value.data[0], device)
    if isinstance(value, Mapping):
        # The type stays, as in MMCV 1.7.2: models read a ConfigDict by attributes.
        return type(value)({k: _moved(v, device) for k, v in value.items()})  # type: ignore[call-arg]
    # A namedtuple takes its values as separate arguments. MMCV 1.7.2 makes a bare tuple of it.
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(v, device) for v in value))
    # Exact types: a subclass, such as a container of masks, may have another constructor.
    if type(value) in (list, tuple):
        return type(value)(_moved(v, device) for v in value)
    return value


class _Wrapper(nn.Module):
    """A model with its containers unpacked.

    Args:
        module: The model.
        device_ids: At most one GPU; the model is moved there. Without a GPU, or ``[-1]``, it stays where it is.
        dim: Unused.
        kwargs: Kept for the Trainer, such as ``find_unused_parameters``.
    """

    def __init__(
        self,
        module: nn.Module,
        device_ids: Sequence[int] | None = None,
        dim: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        if device_ids is not None and len(device_ids) > 1:
            raise ValueError(
                f"device_ids={list(device_ids)!r} → one process computes on one device; start one process per "
                "device with a launcher, and wrap in MMDistributedDataParallel."
            )
        # 1.x scripts pass device_ids=[0] also where there is no GPU; nn.DataParallel then runs on the CPU.
        on_gpu = device_ids and device_ids[0] != -1 and torch.cuda.is_available()
        self.device_ids = list(device_ids or ()) if on_gpu else []
        self.module = module.cuda(self.device_ids[0]) if on_gpu else module
        self.dim = dim
        # No DistributedDataParallel here: Lightning would wrap the model a second time.
        self.strategy_arguments = kwargs

    def _scattered(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        # Asked at each call: the Trainer may move the model after it was wrapped.
        parameter = next(self.module.parameters(), None)
        device = torch.device("cpu") if parameter is None else parameter.device
        # MMCV 1.7.2's DDP leaves containers packed on the CPU, so that
        # a model fails there; here they are unpacked too.
        inputs, named = scatter_kwargs(args, kwargs, [device])
        return inputs[0], named[0]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model."""
        args, kwargs = self._scattered(args, kwargs)
        return self.module(*args, **kwargs)

    def train_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's ``train_step``."""
        args, kwargs = self._scattered(args, kwargs)
        return self.module.train_step(*args, **kwargs)  # type: ignore[operator]

    def val_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model's ``val_step``."""
        args, kwargs = self._scattered(args, kwargs)
        return self.module.val_step(*args, **kwargs)  # type: ignore[operator]


@MODULE_WRAPPERS.register_module()
class MMDataParallel(_Wrapper):
    """Run a model on one device; stands for `mmcv.parallel.MMDataParallel`."""


@MODULE_WRAPPERS.register_module()
class MMDistributedDataParallel(_Wrapper):
    """Mark a model for distributed training; stands for `mmcv.parallel.MMDistributedDataParallel`.

    The runner's Trainer synchronises the gradients, with the arguments given here (``broadcast_buffers``,
    ``find_unused_parameters``…).
    """


def is_module_wrapper(module: nn.Module) -> bool:
    """Return whether ``module`` wraps the model as its ``.module``."""
    known = (
        # MMCV 1.7.2 registers both of torch's wrappers.
        nn.DataParallel,
        nn.parallel.DistributedDataParallel,
        *MODULE_WRAPPERS.module_dict.values(),
    )
    return isinstance(module, known)


def build_dp(model: nn.Module, device: str = "cuda", dim: int = 0, **kwargs: Any) -> nn.Module:
    """Wrap a model for one device, as the 1.x toolboxes' function of that name."""
    ids = kwargs.pop("device_ids", None)
    # Toolboxes pass `device_ids=cfg.gpu_ids`, which is a range in MMDetection 2.
    ids = list(ids) if ids is not None else ([0] if device == "cuda" else None)
    return MMDataParallel(model, device_ids=None if device == "cpu" else ids, dim=dim, **kwargs)


def build_ddp(model: nn.Module, device: str = "cuda", **kwargs: Any) -> nn.Module:
    """Wrap a model for distributed training, as the 1.x toolboxes' function of that name."""
    if device == "cpu":
        # torch's DDP refuses `device_ids` for a model on the CPU.
        kwargs.pop("device_ids", None)
    return MMDistributedDataParallel(model, **kwargs)


serve("parallel")
