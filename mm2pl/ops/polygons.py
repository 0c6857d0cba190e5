"""Convex polygons: areas, intersections and hulls of many at a time."""

from __future__ import annotations

import torch
from torch import Tensor

TINY = 1e-14
"""Polygons of a smaller area overlap nothing, as in MMCV: nor do those of a negative width or height."""
NEAR = 1e-9
"""Distance, as a share of the polygons' size, within which two edges are one line."""


def cross(one: Tensor, other: Tensor) -> Tensor:
    """Return ``x1 * y2 - y1 * x2`` of vectors in the last dimension."""
    return one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0]


def signed_area(polygon: Tensor) -> Tensor:
    """Return the areas of polygons ``(…, n, 2)``; positive where y follows x."""
    # Relative to one corner: far from the origin the products would cancel each other.
    centred = polygon - polygon[..., :1, :].detach()
    return cross(centred, centred.roll(-1, -2)).sum(-1) / 2


def one_way(polygon: Tensor) -> Tensor:
    """Return polygons with a positive area: the same corners, in reverse order where it was negative."""
    return torch.where(signed_area(polygon)[..., None, None] < 0, polygon.flip(-2), polygon)


def intersection(one: Tensor, other: Tensor) -> Tensor:
    """Return the areas that pairs of convex polygons share, by Green's theorem.

    The border of the shared area is what of the border of each lies in the other. Differentiable.

    Args:
        one: ``(M, n, 2)``, of positive area; a corner may be repeated.
        other: ``(M, m, 2)``, as ``one``.
    """
    centre = (one.mean(1, keepdim=True) + other.mean(1, keepdim=True)).detach() / 2
    one, other = one - centre, other - centre
    sides = [each.roll(-1, 1) - each for each in (one, other)]
    # How far corners of each lie inside of the other's sides, times the length of the side: (M, n, m), (M, m, n).
    depths = [
        cross(side[:, None], corners[:, :, None] - begins[:, None])
        for corners, begins, side in ((one, other, sides[1]), (other, one, sides[0]))
    ]
    size = torch.maximum(*(each.detach().abs().amax((1, 2)) for each in (one, other)))
    of_one, of_other = (
        (torch.maximum(depth.abs(), depth.roll(-1, 1).abs()) < NEAR * length)
        for depth, length in (
            (depths[k].detach(), size[:, None, None] * sides[1 - k].detach().norm(dim=2)[:, None])
            for k in range(2)
        )
    )
    on_line = of_one | of_other.transpose(1, 2)
    along = (sides[0][:, :, None] * sides[1][:, None]).sum(3) > 0
    # Where sides lie on each other, rounding must not decide: they count once, or not at all if they only touch.
    total = _inside(one, sides[0], depths[0], on_line & along, on_line & ~along)
    nothing = on_line.transpose(1, 2)
    return total + _inside(other, sides[1], depths[1], torch.zeros_like(nothing), nothing)


def _inside(corners: Tensor, sides: Tensor, depth: Tensor, all_: Tensor, none: Tensor) -> Tensor:
    """Integrate along what of the sides lies inside: on the positive side of each line of the other polygon.

    Args:
        corners: Where sides begin, ``(M, n, 2)``.
        sides: ``(M, n, 2)``.
        depth: Of each corner at each line, ``(M, n, m)``.
        all_: Sides that a line does not cut, ``(M, n, m)``.
        none: Sides that it removes entirely.
    """
    slope = depth.roll(-1, 1) - depth
    at = -depth / torch.where(slope == 0, torch.ones_like(slope), slope)
    zero, one = torch.zeros_like(at), torch.ones_like(at)
    out = ((slope == 0) & (depth < 0)) & ~all_ | none
    first = torch.where((slope > 0) & ~all_, at, zero).amax(2).clamp(min=0)
    last = torch.where((slope < 0) & ~all_, at, one).masked_fill(out, -1).amin(2).clamp(max=1)
    return ((last - first).clamp(min=0) * cross(corners, sides)).sum(1) / 2


def hull(points: Tensor) -> Tensor:
    """Return the convex hulls of sets of points: ``(M, K, 2)`` → ``(M, K, 2)``, of positive area.

    Each begins with the lowest point, the left one of these; its first corner is repeated at the end.
    """
    count = points.shape[1]
    order = points[..., 0].argsort(dim=1, stable=True)
    order = order.gather(1, points[..., 1].gather(1, order).argsort(dim=1, stable=True))
    index = torch.cat([_chain(points, order), _chain(points, order.flip(1))], 1)
    # Both chains begin with the end of the other one, and are filled up with -1.
    keep = index >= 0
    place = torch.where(keep, keep.cumsum(1) - 1, count)
    first = order[:, :1].expand(-1, count + 1)
    corners = first.scatter(1, place.clamp(max=count), index.clamp(min=0))[:, :count]
    return points.gather(1, corners[..., None].expand(-1, -1, 2))


def _chain(points: Tensor, order: Tensor) -> Tensor:
    """Return one half of the hull without its last corner, by Andrew's scan: ``(M, K)``, filled up with -1."""
    rows, count = order.shape
    sorted_ = points.detach().gather(1, order[..., None].expand(-1, -1, 2))
    stack = torch.zeros_like(order)
    top = torch.zeros(
        rows, 1, dtype=torch.long, device=order.device
    )  # position of the last on the stack
    following = torch.ones_like(top)

    def point(place: Tensor) -> Tensor:
        return sorted_.gather(1, place[..., None].expand(-1, -1, 2))

    for _ in range(2 * count):
        new = following.clamp(max=count - 1)
        last = point(stack.gather(1, top))
        before = point(stack.gather(1, (top - 1).clamp(min=0)))
        turns = cross(last - before, point(new) - last) <= 0
        active = following < count
        pops = turns & (top > 0) & active
        pushes = ~pops & active
        top = torch.where(pops, top - 1, torch.where(pushes, top + 1, top))
        written = stack.scatter(1, top, new)
        stack = torch.where(pushes, written, stack)
        following = following + pushes.long()
    place = torch.arange(count, device=order.device)
    return torch.where(place < top, order.gather(1, stack), -1)
