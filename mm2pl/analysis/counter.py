"""Count the operations of a forward pass, by the operators that torch dispatches.

The conventions are those of MMEngine 0.10.7 and fvcore: a multiply-add is one flop; activations are the
outputs of convolutions and matrix products.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
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
        attention: The flops of ``scaled_dot_product_attention``, which :attr:`flops` does not contain.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.flops: Counter[str] = Counter()
        self.activations: Counter[str] = Counter()
        self.attention: Counter[str] = Counter()
        self._inside: list[str] = []
        self._attends = False
        self._model = model
        self._hooks: list[Any] = []
        self._around = ExitStack()

    def __enter__(self) -> OperationCounter:
        """Follow which modules are running."""
        fast = torch.backends.mha.get_fastpath_enabled()
        # One operator for a whole attention, without its projections: MMEngine 0.10.7, whose trace needs gradients,
        # never meets it.
        torch.backends.mha.set_fastpath_enabled(False)
        self._around.callback(torch.backends.mha.set_fastpath_enabled, fast)
        self._around.enter_context(_Attention(self))
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
        self._around.close()
        for hook in self._hooks:
            hook.remove()

    def attend(self, call: Callable[[], torch.Tensor], query: Any, key: Any) -> torch.Tensor:
        """Count an attention by itself, and nothing of what it consists of on this device."""
        if self._attends:
            return call()
        self._attends = True
        try:
            out = call()
        finally:
            self._attends = False
        # Each query meets each key, and then each value.
        pairs = query.shape[:-1].numel() * key.shape[-2]
        for name in {"", *self._inside}:
            self.attention[name] += pairs * (query.shape[-1] + out.shape[-1])
        return out

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Count one operator for every module that is running."""
        out = func(*args, **(kwargs or {}))
        if self._attends:
            return out
        flops = FLOPS[func](args, out) if func in FLOPS else 0
        values = out.numel() if func in ACTIVATIONS else 0
        # A set: a module that calls itself counts an operator once.
        for name in {"", *self._inside}:
            self.flops[name] += flops
            self.activations[name] += values
        return out


_attention = F.scaled_dot_product_attention


class _Attention(TorchFunctionMode):
    """Tell a counter of each ``scaled_dot_product_attention``.

    In a trace of MMEngine's it is one operator, which counts nothing. What torch dispatches differs: two products on
    one device or with a dropout, one operator on another.
    """

    def __init__(self, counter: OperationCounter) -> None:
        super().__init__()
        self._counter = counter

    def __enter__(self) -> _Attention:
        """Follow the calls, under whichever name."""
        # A mode is not told of what `multi_head_attention_forward` calls, which asks modes itself: torch 2.13.
        F.scaled_dot_product_attention = self._attend
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        """Follow no more."""
        super().__exit__(*error)
        F.scaled_dot_product_attention = _attention

    def _attend(self, *args: Any, **given: Any) -> torch.Tensor:
        named = {**dict(zip(("query", "key"), args, strict=False)), **given}
        return self._counter.attend(
            lambda: _attention(*args, **given), named["query"], named["key"]
        )

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function."""
        call = self._attend if func is _attention else func
        return call(*args, **(kwargs or {}))
