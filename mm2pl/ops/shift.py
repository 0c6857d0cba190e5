"""Shifting of groups of channels along time (Temporal Interlacing Network)."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import require, require_one, require_tensors


def tin_shift(input: Tensor, shift: Tensor) -> Tensor:
    """Move each group of channels by its number of segments; what comes in from outside is 0.

    Args:
        input: ``(B, T, C, L)``.
        shift: Segments that each group moves later, ``(B, groups)``, integers.

    Returns:
        Tensor: ``(B, T, C, L)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "tin_shift"
    require_tensors(name, input=(input, ("B", "T", "C", "L")))
    batch, segments, channels, _ = input.shape
    groups = shift.shape[-1] if isinstance(shift, Tensor) and shift.dim() else 0
    fits = groups > 0 and shift.shape == (batch, groups) and shift.dtype in (torch.int, torch.long)
    given = f"{shift.dtype} {tuple(shift.shape)}" if isinstance(shift, Tensor) else repr(shift)
    require(fits, name, "shift", given, f"int32 or int64 ({batch}, groups)")
    require_one(name, "device", input=input, shift=shift)
    fits = channels % groups == 0
    require(fits, name, "shift", f"of {groups} groups", f"of a divisor of {channels} channels")
    of_channel = shift.long().repeat_interleave(channels // groups, 1)[:, None]
    origin = torch.arange(segments, device=input.device)[None, :, None] - of_channel
    inside = (origin >= 0) & (origin < segments)
    index = origin.clamp(0, segments - 1)[..., None].expand_as(input)
    return input.gather(1, index) * inside[..., None]
