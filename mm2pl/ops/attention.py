"""Attention over sampled points of several feature maps (Deformable DETR)."""

from __future__ import annotations

import torch
from torch import Tensor

from mm2pl.ops.arguments import (
    full_precision,
    require,
    require_one,
    require_tensors,
    values_are_known,
)
from mm2pl.ops.gather import corners_of, gather, padded


@full_precision
def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Sum up bilinear samples of all maps, each with its attention.

    Args:
        value: ``(B, N, heads, D)``: the cells of all maps, one map after the other.
        spatial_shapes: ``(maps, 2)``, int64: height and width of each.
        sampling_locations: ``(B, Q, heads, maps, points, 2)``: x and y from 0 to 1 over a map.
        attention_weights: ``(B, Q, heads, maps, points)``.

    Returns:
        Tensor: ``(B, Q, heads * D)``.

    Raises:
        ArgumentError: Shapes do not fit each other.
    """
    _check(value, spatial_shapes, sampling_locations, attention_weights)
    batch, cells, heads, channels = value.shape
    queries, _, maps, points = sampling_locations.shape[1:5]
    heights, widths = (spatial_shapes[:, axis].view(maps, 1).to(value) for axis in (0, 1))
    x = sampling_locations[..., 0] * widths - 0.5
    y = sampling_locations[..., 1] * heights - 0.5
    index, share = corners_of(padded(y, heights), padded(x, widths), widths.long())
    sizes = spatial_shapes.prod(1)
    begins = (sizes.cumsum(0) - sizes).view(maps, 1, 1)
    images = torch.arange(batch, device=value.device).view(-1, 1, 1, 1, 1, 1)
    head = torch.arange(heads, device=value.device).view(-1, 1, 1, 1)
    table = value.transpose(1, 2).reshape(batch * heads * cells, channels)
    index = index + begins + (images * heads + head) * cells
    share = share * attention_weights[..., None]
    matrix = (batch * queries * heads, maps * points * 4)
    sums = gather(table, index.reshape(matrix), share.reshape(matrix))
    return sums.view(batch, queries, heads * channels)


def _check(
    value: Tensor, spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor
) -> None:
    name = "ms_deform_attn"
    require_tensors(name, value=(value, ("B", "N", "heads", "D")))
    batch, cells, heads, _ = value.shape
    fits = isinstance(spatial_shapes, Tensor) and spatial_shapes.dtype in (torch.int, torch.long)
    fits = fits and spatial_shapes.dim() == 2 and spatial_shapes.shape[1] == 2
    accepted = "an int32 or int64 tensor (maps, 2)"
    require(fits, name, "spatial_shapes", spatial_shapes, accepted)
    shape = (batch, "Q", heads, len(spatial_shapes), "points")
    require_tensors(
        name,
        value=(value, ("B", "N", "heads", "D")),
        sampling_locations=(sampling_locations, (*shape, 2)),
        attention_weights=(attention_weights, shape),
    )
    points = sampling_locations.shape[4]
    weights = (attention_weights, (*sampling_locations.shape[:4], points))
    require_tensors(name, value=(value, ("B", "N", "heads", "D")), attention_weights=weights)
    given = {"sampling_locations": sampling_locations, "attention_weights": attention_weights}
    require_one(name, "dtype", value=value, **given)
    require_one(name, "device", value=value, spatial_shapes=spatial_shapes)
    if values_are_known(spatial_shapes):
        fits = bool((spatial_shapes > 0).all())
        require(
            fits, name, "spatial_shapes", spatial_shapes.tolist(), "of at least 1 cell each way"
        )
        total = int(spatial_shapes.prod(1).sum())
        require(total == cells, name, "spatial_shapes", f"of {total} cells", f"of value's {cells}")
