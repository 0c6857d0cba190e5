"""Half precision in 1.x code: the decorators do nothing, the runner's autocast does it all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

import torch
from torch import nn

Function = TypeVar("Function", bound=Callable[..., Any])


def auto_fp16(
    apply_to: Iterable[str] | None = None, out_fp32: bool = False, supported_types: object = None
) -> Callable[[Function], Function]:
    """Return the method as it is: torch's autocast chooses the precision of each operation.

    `Fp16OptimizerHook` turns it on for the whole ``train_step``.

    ``apply_to``, ``out_fp32`` and ``supported_types`` are MMCV 1.x' and have no effect.
    """
    # MMCV 1.7.2 casts the arguments to half and autocasts the method.
    # Autocast around the whole step makes both needless.
    return lambda method: method


def force_fp32(
    apply_to: Iterable[str] | None = None, out_fp16: bool = False
) -> Callable[[Function], Function]:
    """Return the method as it is: autocast runs losses and norms in float32.

    ``apply_to`` and ``out_fp16`` have no effect.
    """
    # MMCV 1.7.2 casts the arguments to float32 and turns autocast off inside.
    # Here torch's own list of float32 operations protects losses and norms.
    return lambda method: method


def wrap_fp16_model(model: nn.Module) -> None:
    """Set ``fp16_enabled`` on the modules of ``model`` that have it, for code that reads it."""
    module: Any
    # From torch 1.6 on MMCV 1.7.2 no longer calls `model.half()`: the weights stay float32, only the flag is set.
    for module in model.modules():
        if hasattr(module, "fp16_enabled"):
            module.fp16_enabled = True


def cast_tensor_type(inputs: Any, src_type: torch.dtype, dst_type: torch.dtype) -> Any:
    """Return ``inputs`` with the tensors of ``src_type`` in it, at any depth, as ``dst_type``."""
    if isinstance(inputs, torch.Tensor):
        return inputs.to(dst_type) if inputs.dtype == src_type else inputs
    if isinstance(inputs, Mapping):
        cast = {k: cast_tensor_type(v, src_type, dst_type) for k, v in inputs.items()}
        return type(inputs)(cast)  # type: ignore[call-arg]  # as any mapping that a batch may be
    # MMCV 1.7.2 also goes through sets and other iterables; a batch has lists and tuples.
    if isinstance(inputs, list | tuple):
        return type(inputs)(cast_tensor_type(value, src_type, dst_type) for value in inputs)
    return inputs
