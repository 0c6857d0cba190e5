"""Features at rotated boxes and along curves: relatives of RoIAlign, and filters that are turned."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mm2pl.ops.arguments import (
    full_precision,
    pair,
    require,
    require_one,
    require_tensors,
    values_are_known,
)
from mm2pl.ops.gather import gather
from mm2pl.ops.sampling import Grid, bilinear, check_regions, means, table_of, upright_means

Size = int | tuple[int, int]


@full_precision
def roi_align_rotated(
    input: Tensor,
    rois: Tensor,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
    clockwise: bool = False,
) -> Tensor:
    """Sample rotated regions bilinearly.

    Args:
        input: ``(B, C, H, W)``.
        rois: ``(N, 6)``: image, centre x and y, width, height in pixels, angle. They get no gradient, as in MMCV.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        aligned: Whether cell centres lie at halves.
        clockwise: Whether angles are.

    Returns:
        Tensor: ``(N, C, *output_size)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    name = "roi_align_rotated"
    check_regions(name, input, rois, 6, sampling_ratio)
    rois = rois.detach().to(input.dtype)
    centre = rois[:, [2, 1]] * spatial_scale - (0.5 if aligned else 0.0)
    size = rois[:, [4, 3]] * spatial_scale
    if aligned:
        fits = not values_are_known(size) or bool((size >= 0).all())
        require(
            fits, name, "rois", "one of a negative size or without one", "of width and height >= 0"
        )
    else:
        size = size.clamp(min=1.0)
    angle = -rois[:, 5] if clockwise else rois[:, 5]
    bins = pair(name, "output_size", output_size)
    return _turned(input, rois[:, 0], centre, size, angle, bins, sampling_ratio)


def _turned(
    input: Tensor,
    images: Tensor,
    centre: Tensor,
    size: Tensor,
    angle: Tensor,
    bins: tuple[int, int],
    sampling_ratio: int,
) -> Tensor:
    cos, sin = angle.cos(), angle.sin()

    def place(grid: Grid) -> tuple[Tensor, Tensor]:
        half_y, half_x, mid_y, mid_x, c, s = (
            grid.of_regions(each) for each in (*(size / 2).T, *centre.T, cos, sin)
        )
        y, x = grid.bin_y - half_y + grid.in_y, grid.bin_x - half_x + grid.in_x
        return y * c - x * s + mid_y, y * s + x * c + mid_x

    return means(input, images, size, bins, sampling_ratio, place)


@full_precision
def riroi_align_rotated(
    input: Tensor,
    rois: Tensor,
    output_size: Size,
    spatial_scale: float = 1.0,
    num_samples: int = 0,
    num_orientations: int = 8,
    clockwise: bool = False,
) -> Tensor:
    """Sample rotated regions, and turn their channels of orientations with them (ReDet).

    Args:
        input: ``(B, C * num_orientations, H, W)``.
        rois: ``(N, 6)``, as in :func:`roi_align_rotated`.
        output_size: Bins of y and x.
        spatial_scale: Cells of the map per pixel.
        num_samples: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        num_orientations: Channels of one turn; between two of them values are interpolated.
        clockwise: Whether angles are.

    Returns:
        Tensor: ``(N, C * num_orientations, *output_size)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    name = "riroi_align_rotated"
    bins = pair(name, "output_size", output_size)
    check_regions(name, input, rois, 6, num_samples)
    channels = input.shape[1]
    fits = num_orientations > 0 and channels % num_orientations == 0
    require(fits, name, "num_orientations", num_orientations, f"a divisor of {channels} channels")
    rois = rois.detach().to(input.dtype)
    centre, size = rois[:, [2, 1]] * spatial_scale, (rois[:, [4, 3]] * spatial_scale).clamp(min=1)
    angle = -rois[:, 5] if clockwise else rois[:, 5]
    values = _turned(input, rois[:, 0], centre, size, angle, bins, num_samples)
    values = values.unflatten(1, (-1, num_orientations))
    # The channels turn by the angle as it is given, clockwise or not.
    turn = rois[:, 5] * num_orientations / (2 * math.pi)
    whole = turn.floor()
    share = (turn - whole).view(-1, 1, 1, 1, 1)
    orientation = torch.arange(num_orientations, device=input.device)
    first = ((orientation - whole.long()[:, None]) % num_orientations)[:, None, :, None, None]
    first = first.expand_as(values)
    mixed = (1 - share) * values.gather(2, first)
    mixed = mixed + share * values.gather(2, (first + 1) % num_orientations)
    return mixed.reshape(len(rois), channels, *bins)


@full_precision
def rotated_feature_align(
    input: Tensor, boxes: Tensor, spatial_scale: float = 1 / 8, points: int = 1
) -> Tensor:
    """Add to each cell the features at the centre of its box, or also at its corners (R3Det).

    Args:
        input: ``(B, C, H, W)``.
        boxes: ``(B, H, W, 5)``: centre y and x, width, height in pixels, angle. They get no gradient, as in MMCV.
        spatial_scale: Cells of the map per pixel.
        points: 1, the centre, or 5.

    Returns:
        Tensor: ``(B, C, H, W)``.

    Raises:
        ArgumentError: An argument has another shape, type or value.
    """
    name = "rotated_feature_align"
    require_tensors(name, input=(input, ("B", "C", "H", "W")))
    batch, channels, height, width = input.shape
    whole = (batch, height, width, 5)
    require_tensors(name, input=(input, ("B", "C", "H", "W")), boxes=(boxes, whole))
    require(points in (1, 5), name, "points", points, "1 or 5")
    boxes = boxes.detach().to(input.dtype)
    y, x, wide, tall = (boxes[..., :4] * spatial_scale).unbind(-1)
    cos, sin = boxes[..., 4].cos() / 2, boxes[..., 4].sin() / 2
    ys, xs = [y], [x]
    if points == 5:
        for along, down in ((1, 1), (-1, 1), (-1, -1), (1, -1)):
            ys.append(y + along * sin * wide + down * cos * tall)
            xs.append(x + along * cos * wide - down * sin * tall)
    images = torch.arange(batch, device=input.device).view(-1, 1, 1, 1)
    index, weight = bilinear(images, torch.stack(ys, -1), torch.stack(xs, -1), input.shape)
    table = table_of(input)
    found = gather(table, index.view(len(table), 4 * points), weight.view(len(table), 4 * points))
    return input + found.view(batch, height, width, channels).permute(0, 3, 1, 2)


@full_precision
def bezier_align(
    input: Tensor,
    beziers: Tensor,
    output_size: Size,
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    aligned: bool = True,
) -> Tensor:
    """Sample the area between two cubic Bézier curves, the upper and the lower side of a text (ABCNet).

    Args:
        input: ``(B, C, H, W)``.
        beziers: ``(N, 17)``: image, then x and y of eight points in pixels: the upper curve from left to right,
            the lower one from right to left. They get no gradient, as in MMCV.
        output_size: Bins of y and x; each is centred where it begins.
        spatial_scale: Cells of the map per pixel.
        sampling_ratio: Samples per bin along each axis; 0 takes one for each cell that a bin covers.
        aligned: Whether cell centres lie at halves.

    Returns:
        Tensor: ``(N, C, *output_size)``.

    Raises:
        ArgumentError: An argument has another shape or type.
    """
    bins = pair("bezier_align", "output_size", output_size)
    check_regions("bezier_align", input, beziers, 17, sampling_ratio)
    beziers = beziers.detach().to(input.dtype)
    curves = beziers[:, 1:].view(-1, 2, 4, 2) * spatial_scale
    upper, lower = curves[:, 0], curves[:, 1].flip(1)
    spans = [(curve[:, 0] - curve[:, 3]).abs() for curve in (upper, lower)]
    size = torch.maximum(*spans).flip(1)
    if not aligned:
        size = size.clamp(min=1.0)
    # In float64, as the constants of MMCV's kernel make it.
    u, v = (torch.arange(count, device=input.device).double() / count for count in reversed(bins))
    power = torch.stack([(1 - u) ** 3, 3 * u * (1 - u) ** 2, 3 * u**2 * (1 - u), u**3], 1)
    above, below = power @ upper.double(), power @ lower.double()  # (N, bins of x, 2)
    share = v[:, None, None]
    centre = below[:, None] * share + above[:, None] * (1 - share) - (0.5 if aligned else 0.0)
    centre = centre.to(size)
    half = (size / size.new_tensor(bins) / 2)[:, None, None]
    begins = (centre[..., 1] - half[..., 0], centre[..., 0] - half[..., 1])
    return upright_means(input, beziers[:, 0], begins, size, bins, sampling_ratio)


def active_rotated_filter(input: Tensor, indices: Tensor) -> Tensor:
    """Turn filters of orientations into all of their rotations (S2ANet).

    Args:
        input: ``(D, C, orientations, kh, kw)``.
        indices: Where each entry goes in each rotation, from 1 on, integers: ``(orientations, kh, kw, rotations)``.

    Returns:
        Tensor: ``(D * rotations, C * orientations, kh, kw)``.

    Raises:
        ArgumentError: Shapes or types do not fit.
    """
    name = "active_rotated_filter"
    require_tensors(name, input=(input, ("D", "C", "orientations", "kh", "kw")))
    planes, channels, *entry = input.shape
    fits = isinstance(indices, Tensor) and not indices.is_floating_point() and indices.dim() == 4
    fits = fits and list(indices.shape[:3]) == entry
    given = f"{indices.dtype} {tuple(indices.shape)}" if isinstance(indices, Tensor) else indices
    require(fits, name, "indices", given, f"integers ({', '.join(map(str, entry))}, rotations)")
    require_one(name, "device", input=input, indices=indices)
    rotations, count = indices.shape[3], math.prod(entry)
    place = indices.reshape(count, rotations).T.long() - 1
    unknown = not place.numel() or not values_are_known(place)
    fits = unknown or (int(place.min()) >= 0 and int(place.max()) < count)
    require(fits, name, "indices", "one outside the filter", f"from 1 to {count}")
    whole = (planes, rotations, channels, count)
    filters = input.reshape(planes, 1, channels, count).expand(whole)
    turned = input.new_zeros(whole).scatter(3, place[None, :, None].expand(whole), filters)
    return turned.reshape(planes * rotations, channels * entry[0], *entry[1:])
