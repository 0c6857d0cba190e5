"""Automatic casting with the device's own default."""

from __future__ import annotations

import torch

from mm2pl.errors import StateError, UserError

# MMEngine's; `torch.npu` and the two after it exist only where the vendor's package has added them.
ACCELERATORS = ("cuda", "npu", "mlu", "musa")


def accelerator() -> str:
    """Return the type of the accelerator that autocast can use here, or ``'cpu'``."""
    for kind in ACCELERATORS:
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            return kind
    return "cpu"


def default_dtype(device_type: str) -> torch.dtype:
    """Return what autocast computes in on a device, if nothing else is said."""
    return torch.bfloat16 if device_type == "cpu" else torch.float16


def autocast(
    device_type: str | None = None,
    dtype: torch.dtype | None = None,
    enabled: bool = True,
    cache_enabled: bool | None = None,
) -> torch.autocast:
    """Return a context of mixed precision; stands for `mmengine.runner.autocast`.

    Args:
        device_type: Default: the accelerator, else ``'cpu'``.
        dtype: Default: the device's, float16 on an accelerator and bfloat16 on a CPU.
        enabled: False makes the context do nothing.
        cache_enabled: Whether casts of weights are cached inside the context.

    Raises:
        RuntimeError: The device cannot compute in ``dtype``.
    """
    device_type = device_type or accelerator()
    # A context that does nothing may have any dtype; MMEngine 0.10.7 checks it all the same.
    if enabled:
        _check(device_type, dtype)
    return torch.autocast(device_type, dtype, enabled, cache_enabled)


def _check(device_type: str, dtype: torch.dtype | None) -> None:
    # torch 2.13 would cast to float16 here as well, but MMEngine 0.10.7 asserts bfloat16.
    if device_type == "cpu" and dtype not in (None, torch.bfloat16):
        raise CpuAutocastError(
            f"dtype={dtype} on a CPU → autocast computes in torch.bfloat16 there: set "
            "dtype='bfloat16', use OptimWrapper, or train on a GPU."
        )
    if device_type == "cuda" and dtype == torch.bfloat16 and not torch.cuda.is_bf16_supported():
        raise StateError("this CUDA device does not support bfloat16: use dtype='float16'.")


class CpuAutocastError(UserError, RuntimeError, AssertionError):
    """Autocast to a type that CPUs do not cast to; MMEngine asserts it."""
