"""Reassembly of features by predicted kernels (CARAFE)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from mm2pl.ops.arguments import full_precision, pair, require, require_one, require_tensors
from mm2pl.ops.gather import zero


@full_precision
def carafe(
    features: Tensor, masks: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> Tensor:
    """Upsample: each cell of the result is a weighted sum of the cells around its origin.

    Args:
        features: ``(B, C, H, W)``.
        masks: ``(B, group_size * kernel_size ** 2, H * scale_factor, W * scale_factor)``.
        kernel_size: Cells of the neighbourhood along each axis, odd.
        group_size: Groups of channels with masks of their own.
        scale_factor: How much larger the result is.

    Returns:
        Tensor: ``(B, C, H * scale_factor, W * scale_factor)``.

    Raises:
        ArgumentError: Shapes do not fit each other.
    """
    name = "carafe"
    require_tensors(name, features=(features, ("B", "C", "H", "W")))
    odd = kernel_size % 2 == 1 and kernel_size > 0
    require(odd, name, "kernel_size", kernel_size, "odd and positive")
    batch, channels, height, width = features.shape
    fits = group_size > 0 and channels % group_size == 0
    require(fits, name, "group_size", group_size, f"a divisor of the {channels} channels")
    cells = kernel_size**2
    size = (height * scale_factor, width * scale_factor)
    require_tensors(
        name,
        features=(features, ("B", "C", "H", "W")),
        masks=(masks, (batch, group_size * cells, *size)),
    )
    require_one(name, "dtype", features=features, masks=masks)
    if not channels:  # torch's unfold refuses it
        return features.new_zeros(batch, channels, *size) + zero(features, masks)
    around = functional.unfold(features, kernel_size, padding=kernel_size // 2)
    around = around.view(batch, group_size, channels // group_size, cells, height, width)
    # Each cell's own scale_factor ** 2 results, in place of an enlarged copy of its neighbourhood.
    split = (batch, group_size, cells, height, scale_factor, width, scale_factor)
    sums = torch.einsum("bgckyx,bgkysxt->bgcysxt", around, masks.reshape(split))
    return sums.reshape(batch, channels, *size)


def psa_mask(input: Tensor, psa_type: int, mask_size: tuple[int, int]) -> Tensor:
    """Write masks that are centred on each cell as masks over the whole map (PSANet).

    Args:
        input: ``(B, mh * mw, H, W)``.
        psa_type: 0 collects (the map first), 1 distributes.
        mask_size: ``mh, mw``; the middle of an even one is before its half.

    Returns:
        Tensor: ``(B, H * W, H, W)``.

    Raises:
        ArgumentError: Shapes do not fit each other.
    """
    name, mask_size = "psa_mask", pair("psa_mask", "mask_size", mask_size)
    cells = mask_size[0] * mask_size[1]
    require_tensors(name, input=(input, ("B", cells, "H", "W")))
    require(psa_type in (0, 1), name, "psa_type", psa_type, "0 (collect) or 1 (distribute)")
    batch, _, height, width = input.shape
    axes = []
    for size, mask in ((height, mask_size[0]), (width, mask_size[1])):
        place = torch.arange(size, device=input.device)
        # Where the mask of one cell has the other one.
        axes.append(place[:, None] - place + (mask - 1) // 2)
    y, x = axes[0][:, None, :, None], axes[1][None, :, None, :]
    inside = (y >= 0) & (y < mask_size[0]) & (x >= 0) & (x < mask_size[1])
    index = (y * mask_size[1] + x).clamp(0, cells - 1)
    whole = (height, width, height, width)
    index = index.expand(whole).reshape(1, height * width, height, width)
    index = index.expand(batch, -1, -1, -1)
    masks = input.gather(1, index) * inside.expand(whole).reshape(1, -1, height, width)
    if psa_type == 0:
        return masks
    flat = masks.reshape(batch, height * width, height * width)
    return flat.transpose(1, 2).reshape(batch, height * width, height, width)
