"""Which accelerator this machine has; the functions of `mmengine.device`."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.util import find_spec

import torch


@cache
def _plugin_available(name: str) -> bool:
    """Return whether torch's plugin for ``name`` (npu, mlu, dipu, musa) is installed and works."""
    if find_spec(f"torch_{name}") is None:
        return False
    try:
        import_module(f"torch_{name}")
        # dipu and musa make themselves known just by being importable.
        return name in ("dipu", "musa") or bool(getattr(torch, name).is_available())
    except Exception:  # a vendor's package without its driver fails in ways of its own
        return False


def is_cuda_available() -> bool:
    """Return whether there is a CUDA device."""
    return torch.cuda.is_available()


def is_npu_available() -> bool:
    """Return whether there is an Ascend device."""
    return _plugin_available("npu")


def is_mlu_available() -> bool:
    """Return whether there is a Cambricon device."""
    return _plugin_available("mlu")


def is_mps_available() -> bool:
    """Return whether there is an Apple device."""
    return torch.backends.mps.is_available()


def is_dipu_available() -> bool:
    """Return whether DeepLink's plugin is installed."""
    return _plugin_available("dipu")


def is_musa_available() -> bool:
    """Return whether Moore Threads' plugin is installed."""
    return _plugin_available("musa")


def is_npu_support_full_precision() -> bool:
    """Return whether the Ascend device computes in float32."""
    if not is_npu_available():
        return False
    # 220 is the first of Ascend's chips that does, by MMEngine 0.10.7.
    return import_module("torch_npu.npu.utils").get_soc_version() >= 220


@cache
def get_device() -> str:
    """Return the type of the device to use: the first available, else ``'cpu'``.

    Example:
        >>> get_device() in ("cpu", "cuda", "mps")
        True
    """
    # In MMEngine 0.10.7's order.
    available = {
        "npu": is_npu_available,
        "cuda": is_cuda_available,
        "mlu": is_mlu_available,
        "mps": is_mps_available,
        "dipu": is_dipu_available,
        "musa": is_musa_available,
    }
    return next((name for name, check in available.items() if check()), "cpu")


def get_max_cuda_memory(device: torch.device | None = None) -> int:
    """Return the peak of allocated memory in MiB since the last call.

    ``device`` is the GPU; None: the current one. Only the current GPU's peak is reset.
    """
    peak = torch.cuda.max_memory_allocated(device=device) // 2**20
    # As in MMEngine 0.10.7, which does not do so for MUSA below.
    torch.cuda.reset_peak_memory_stats()
    return peak


def get_max_musa_memory(device: torch.device | None = None) -> int:
    """Return the peak of allocated memory in MiB on ``device``, by default the current one."""
    return torch.musa.max_memory_allocated(device=device) // 2**20  # type: ignore[attr-defined]
