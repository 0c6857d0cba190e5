"""Count the operations of a forward pass, by the operators that torch dispatches.

The conventions are those of MMEngine 0.10.7 and fvcore: a multiply-add is one flop; activations are the
outputs of convolutions and matrix products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


def _convolution(args: tuple[Any, ...], out: Any) -> int:
    inputs, weight, transposed = args[0], args[1], args[6]
    # `args[6]` of aten::convolution; a transposed one lays its kernel at each input.
    places = inputs if transposed else out  # where the kernel is laid
    return places.shape[0] * places.shape[2:].numel() * weight.numel()


def _product(args: tuple[Any, ...], out: Any) -> int:
    return args[0].numel() * args[1].shape[-1]


def _addmm(args: tuple[Any, ...], out: Any) -> int:
    return args[1].numel() * args[2].shape[-1]


def _norm(weight: int) -> Callable[[tuple[Any, ...], Any], int]:
    return lambda args, out: args[0].numel() * (4 if args[weight] is None else 5)


def _batch_norm(args: tuple[Any, ...], out: Any) -> int:
    # The operator has both modes: with fixed statistics it is only a scale and a shift.
    training = args[5]
    if training:
        return args[0].numel() * (4 if args[1] is None else 5)
    return args[0].numel() * (1 if args[1] is None else 2)


def _frozen_batch_norm(args: tuple[Any, ...], out: Any) -> int:
    return args[0].numel() * (1 if args[1] is None else 2)


def _group_norm(args: tuple[Any, ...], out: Any) -> int:
    return args[0].numel() * (4 if args[1] is None else 5)


def _mean(args: tuple[Any, ...], out: Any) -> int:
    """Count what ``adaptive_avg_pool2d(x, 1)`` becomes."""
    # torch dispatches a pooling to size 1 as a mean; other means cost nothing in MMEngine's table.
    pools = len(args) > 2 and args[2] and args[0].dim() == 4 and sorted(args[1]) == [-2, -1]
    return args[0].numel() if pools else 0


def _outputs(factor: int) -> Callable[[tuple[Any, ...], Any], int]:
    return lambda args, out: factor * out.numel()


FLOPS: dict[Any, Callable[[tuple[Any, ...], Any], int]] = {
    aten.convolution.default: _convolution,
    aten.mm.default: _product,
    aten.bmm.default: _product,
    aten.addmm.default: _addmm,
    aten.native_batch_norm.default: _batch_norm,
    aten.cudnn_batch_norm.default: _batch_norm,
    aten._native_batch_norm_legit.default: _group_norm,
    aten._native_batch_norm_legit_no_training.default: _frozen_batch_norm,
    aten.native_group_norm.default: _group_norm,
    aten.native_layer_norm.default: _norm(2),
    aten.upsample_nearest2d.default: _outputs(1),
    aten.upsample_nearest2d.vec: _outputs(1),
    aten.upsample_bilinear2d.default: _outputs(4),
    aten.upsample_bilinear2d.vec: _outputs(4),
    aten._adaptive_avg_pool2d.default: lambda args, out: args[0].numel(),
    aten.mean.dim: _mean,
    aten.grid_sampler_2d.default: _outputs(4),
}
"""Operator → its flops from arguments and output."""

# With `mm`, unlike the traced table: `aten::linear` and `aten::matmul` arrive here as `mm` or `addmm`.
ACTIVATIONS = frozenset(
    (aten.convolution.default, aten.mm.default, aten.bmm.default, aten.addmm.default)
)


class OperationCounter(TorchDispatchMode):
    """Counts while a model runs in it.

    Attributes:
        flops: By the name of the module, ``''`` being the model; its children's are included.
        activations: The same for the numbers of values.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.activations: Counter[str] = Counter()
        self._inside: list[str] = []
        self._model = model
        self._hooks: list[Any] = []

    def __enter__(self) -> OperationCounter:
        """Follow which modules are running."""
        # A shared module once, under its first name, as in a trace.
        for name, module in self._model.named_modules():
            enter = module.register_forward_pre_hook(
                lambda *_, name=name: self._inside.append(name)
            )
            leave = module.register_forward_hook(
                lambda *_: self._inside.pop() and None, always_call=True
            )
            self._hooks += [enter, leave]
        # Last, and left first: the mode must not count before all hooks are there.
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Take the hooks back."""
        super().__exit__(*error)
        for hook in self._hooks:
            hook.remove()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one operator for every module that is running."""
        out = func(*args, **(kwargs or {}))
        flops = FLOPS[func](args, out) if func in FLOPS else 0
        values = out.numel() if func in ACTIVATIONS else 0
        # A set: a module that calls itself counts an operator once.
        for name in {"", *self._inside}:
            self.flops[name] += flops
            self.activations[name] += values
        return out
