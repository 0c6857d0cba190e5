"""Batches, loss dicts and norm layers: what models share."""

from __future__ import annotations

import logging
import sys
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log


def stack_batch(
    tensor_list: list[torch.Tensor], pad_size_divisor: int = 1, pad_value: float = 0
) -> torch.Tensor:
    """Stack tensors of different sizes, each padded at the end of every dimension but the first.

    Args:
        tensor_list: Tensors ``(C, ...)`` with the same number of dimensions.
        pad_size_divisor: All sizes but ``C`` are rounded up to a multiple of it.
        pad_value: What is padded.

    Raises:
        ArgumentError: ``tensor_list`` is not a list of tensors of as many dimensions.

    Example:
        >>> stack_batch([torch.ones(1, 1, 2), torch.ones(1, 2, 1)], pad_value=7)
        tensor([[[[1., 1.],
                  [7., 7.]]],
        <BLANKLINE>
        <BLANKLINE>
                [[[1., 7.],
                  [1., 7.]]]])
    """
    if not isinstance(tensor_list, list) or not tensor_list:
        raise ArgumentError(f"tensor_list should be a list of tensors, but got {tensor_list!r}")
    if len({tensor.ndim for tensor in tensor_list}) > 1:
        raise ArgumentError(
            f"all tensors should have as many dimensions, but got {[tensor.ndim for tensor in tensor_list]}"
        )
    largest = [
        max(sizes) for sizes in zip(*(tensor.shape[1:] for tensor in tensor_list), strict=True)
    ]
    # `-size % d` is what is missing to the next multiple, in integers: MMEngine 0.10.7 rounds in float32.
    target = [size + -size % pad_size_divisor for size in largest]

    def padded(tensor: torch.Tensor) -> torch.Tensor:
        missing = [goal - size for goal, size in zip(target, tensor.shape[1:], strict=True)]
        # F.pad wants (before, after) for the last dimension first.
        pads = [amount for after in reversed(missing) for amount in (0, after)]
        return F.pad(tensor, pads, value=pad_value) if any(missing) else tensor

    return torch.stack([padded(tensor) for tensor in tensor_list])


@fx.wrap
def merge_dict(*args: dict[str, Any]) -> dict[str, Any]:
    """Merge the dicts ``args`` into a new one, later ones winning.

    `torch.fx` does not trace into this function, as it would into ``update``.

    Raises:
        ArgumentError: An argument is not a dict.

    >>> merge_dict({"loss_cls": 1}, {"loss_box": 2})
    {'loss_cls': 1, 'loss_box': 2}
    """
    output: dict[str, Any] = {}
    for item in args:
        if not isinstance(item, dict):
            raise ArgumentError(
                f"all arguments of merge_dict should be a dict, but got {type(item)}"
            )
        output.update(item)
    return output


def set_preprocessor_device(model: nn.Module, device: torch.device) -> None:
    """Move the data preprocessors within ``model`` that believe to be elsewhere to ``device``.

    MMEngine 0.10.7's remember the device of their last ``.to()``. Moving a module around them does not call it, and
    they go on sending batches to the CPU. Ours look at a buffer.
    """
    for module in model.modules():
        preprocessor = getattr(module, "data_preprocessor", None)
        if (
            isinstance(preprocessor, nn.Module)
            and getattr(preprocessor, "device", device) != device
        ):
            preprocessor.to(device)


def detect_anomalous_params(loss: torch.Tensor, model: nn.Module) -> None:
    """Log an error for every trainable parameter of ``model`` that ``loss`` does not depend on."""
    reached: set[Any] = set()
    todo = [loss.grad_fn]
    # A loop: MMEngine 0.10.7 recurses, and a deep graph goes beyond Python's recursion limit.
    while todo:
        node = todo.pop()
        if node is not None and node not in reached:
            reached.add(node)
            todo += [parent for parent, _ in node.next_functions]
    used = {node.variable for node in reached if hasattr(node, "variable")}
    for name, param in model.named_parameters():
        if param.requires_grad and param not in used:
            print_log(
                f"{name} with shape {param.size()} is not in the computational graph \n",
                logger="current",
                level=logging.ERROR,
            )


class _BatchNormXd(_BatchNorm):
    """A batch norm for inputs of any dimension, as SyncBatchNorm is one; an exchange must keep that."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        pass


def _sync_classes() -> tuple[type[nn.Module], ...]:
    # A layer of mmcv's class can only exist if that module is loaded.
    theirs = getattr(sys.modules.get("mmcv.ops"), "SyncBatchNorm", None)
    return (nn.SyncBatchNorm,) if theirs is None else (nn.SyncBatchNorm, theirs)


def _exchanged(old: Any, new_class: Any) -> Any:
    """Return a norm layer of another class with the very parameters and buffers of ``old``."""
    new = new_class(old.num_features, old.eps, old.momentum, old.affine, old.track_running_stats)
    if old.affine:
        # The same Parameter objects: an optimizer that exists already goes on training them.
        new.weight, new.bias = old.weight, old.bias
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        setattr(new, name, getattr(old, name))
    # torch.ao.quantization puts it on the modules that it prepares.
    if hasattr(old, "qconfig"):
        new.qconfig = old.qconfig
    return new


def revert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Replace every SyncBatchNorm (torch's and mmcv's), in place, by a batch norm of the same parameters.

    Returns:
        ``module``, or what replaces it if it is a norm layer itself.
    """
    reverted = module
    if isinstance(module, _sync_classes()):
        reverted = _exchanged(module, _BatchNormXd)
        # MMEngine 0.10.7 copies the mode only in this direction;
        # `convert_sync_batchnorm` leaves its layers in train mode.
        reverted.training = module.training
    for name, child in module.named_children():
        try:
            reverted.add_module(name, revert_sync_batchnorm(child))
        except Exception as error:  # a module may refuse new children
            print_log(
                f"Failed to convert {child} from SyncBN to BN: {error}",
                logger="current",
                level=logging.WARNING,
            )
    return reverted


def convert_sync_batchnorm(module: nn.Module, implementation: str = "torch") -> nn.Module:
    """Replace every batch norm, in place, by a SyncBatchNorm of the same parameters.

    Args:
        module: The model.
        implementation: ``"torch"`` or ``"mmcv"`` (needs mmcv with its compiled ops).

    Returns:
        ``module``, or what replaces it if it is a norm layer itself.

    Raises:
        ValueError: ``implementation`` is neither ``torch`` nor ``mmcv``.
    """
    converted = module
    if isinstance(module, _BatchNorm):
        if implementation == "torch":
            converted = _exchanged(module, nn.SyncBatchNorm)
        elif implementation == "mmcv":
            # Here and not at the top: mmcv.ops needs the compiled extension.
            from mmcv.ops import SyncBatchNorm

            converted = _exchanged(module, SyncBatchNorm)
        else:
            raise ArgumentError(f'sync_bn should be "torch" or "mmcv", but got {implementation!r}')
    for name, child in module.named_children():
        converted.add_module(name, convert_sync_batchnorm(child, implementation))
    return converted
