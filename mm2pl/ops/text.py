"""Grouping of pixels into texts, on the host: PSENet's growing of kernels, PAN's by embeddings."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from torch import Tensor

from mm2pl.ops.arguments import on_host, require, require_tensors, require_values

Array = npt.NDArray[np.generic]
Integers = npt.NDArray[np.integer]
Booleans = npt.NDArray[np.bool_]
STEPS = ((-1, 0), (1, 0), (0, -1), (0, 1))


def contour_expand(
    kernel_mask: Tensor, kernel_label: Tensor, min_kernel_area: int, kernel_num: int
) -> list[list[int]]:
    """Let the labels of the smallest kernels grow within the largest ones; who comes first has a pixel.

    MMCV 2.1.0 reads the first mask in each of its rounds (contour_expand.cpp): the masks between change nothing.

    Args:
        kernel_mask: ``(kernels, H, W)``, from the largest to the smallest; with one nothing grows.
        kernel_label: Label of each pixel of the smallest kernels, 0 for none: ``(H, W)``, integers.
        min_kernel_area: Labels of fewer pixels go.
        kernel_num: The last label.

    Returns:
        list: The label of each pixel, row by row.

    Raises:
        ArgumentError: Shapes do not fit.
    """
    _check_tensors("contour_expand", kernel_mask=kernel_mask, kernel_label=kernel_label)
    masks, label = (on_host(each) for each in (kernel_mask, kernel_label))
    fits = masks.ndim == 3 and len(masks) >= 1
    require(fits, "contour_expand", "kernel_mask", f"of shape {masks.shape}", "(kernels, H, W)")
    _check_map("contour_expand", "kernel_label", label, masks.shape[1:])
    last = int(label.max(initial=0))
    require(
        last <= kernel_num, "contour_expand", "kernel_num", kernel_num, f"the last label, {last}"
    )
    large = np.bincount(label.ravel()) >= min_kernel_area
    label = np.where(large[label], label, 0)
    if len(masks) > 1:
        open_ = masks[0] != 0
        _grow(label, np.flatnonzero(label), lambda to, own: open_.ravel()[to])
    rows: list[list[int]] = label.tolist()
    return rows


def pixel_group(
    score: Tensor,
    mask: Tensor,
    embedding: Tensor,
    kernel_label: Tensor,
    kernel_contour: Tensor,
    kernel_region_num: int,
    distance_threshold: float,
) -> list[list[float]]:
    """Let kernels grow over the pixels whose embedding is near to the mean of theirs.

    Args:
        score: ``(H, W)``.
        mask: Where texts may be, ``(H, W)``.
        embedding: ``(H, W, D)``.
        kernel_label: Kernel of each pixel, 0 for none: ``(H, W)``, integers.
        kernel_contour: Pixels that grow first, ``(H, W)``.
        kernel_region_num: Labels, 0 included.
        distance_threshold: Greatest distance of embeddings, not included.

    Returns:
        list: For each label its mean score, how many pixels it has, and x and y of each in reading order.

    Raises:
        ArgumentError: Shapes do not fit.
    """
    name = "pixel_group"
    _check_tensors(name, mask=mask, kernel_label=kernel_label, kernel_contour=kernel_contour)
    require_tensors(name, embedding=(embedding, ("H", "W", "D")))
    size = tuple(embedding.shape[:2])
    require_tensors(name, score=(score, size))
    require_values(name, score=score, embedding=embedding)
    scores, masks, features, label, contour = (
        on_host(each) for each in (score, mask, embedding, kernel_label, kernel_contour)
    )
    for argument, given in (("mask", masks), ("kernel_contour", contour)):
        require(given.shape == size, name, argument, f"of shape {given.shape}", f"{size}")
    _check_map(name, "kernel_label", label, size)
    last = int(label.max(initial=0))
    fits = last < kernel_region_num
    require(fits, name, "kernel_region_num", kernel_region_num, f"more than the last label, {last}")
    label, flat = label.copy(), features.reshape(label.size, features.shape[2])
    means = _means(label.ravel(), flat, kernel_region_num)
    open_, limit = masks.astype(bool).ravel(), np.float32(distance_threshold) ** 2

    def may(to: Integers, own: Integers) -> Booleans:
        near: Booleans = ((means[own] - flat[to]) ** 2).sum(1) < limit
        return open_[to] & near

    _grow(label, np.flatnonzero((label > 0) & (contour != 0)), may)
    return [_group(label, scores, each) for each in range(kernel_region_num)]


def _means(label: Integers, features: Array, count: int) -> Array:
    """Return the mean of the rows of each label from 0 on, ``(count, D)``."""
    sums = np.zeros((count, features.shape[1]), features.dtype)
    np.add.at(sums, label, features)
    counts = np.maximum(np.bincount(label, minlength=count), 1)
    return sums / counts[:, None].astype(features.dtype)


def _group(label: Integers, scores: Array, own: int) -> list[float]:
    y, x = np.nonzero(label == own) if own else (np.zeros(0, int), np.zeros(0, int))
    if not len(y):
        return [0.0, 0.0]
    places = np.stack([x, y], 1).ravel().astype(float)
    return [float(scores[y, x].mean()), float(len(y)), *places.tolist()]


def _grow(label: Integers, begin: Integers, may: Callable[[Integers, Integers], Booleans]) -> None:
    """Spread labels from pixel to pixel, as one queue of all of them would.

    Args:
        label: ``(H, W)``; changed.
        begin: Pixels to begin with, in order, as ``y * W + x``.
        may: Returns for pixels and labels whether each may be taken.
    """
    height, width = label.shape
    around = np.full((height + 2, width + 2), -1)
    around[1:-1, 1:-1] = np.arange(label.size).reshape(label.shape)
    near = np.stack([around[1 + y : height + 1 + y, 1 + x : width + 1 + x] for y, x in STEPS], -1)
    near = near.reshape(-1, len(STEPS))
    flat = np.append(label.ravel(), 1)  # what is outside, -1, is taken
    first, front = np.zeros(len(flat), dtype=int), begin
    while len(front):
        # Neighbours in the order of the queue: all of one pixel's, then the next one's.
        to, own = near[front].ravel(), np.repeat(flat[front], len(STEPS))
        free = flat[to] == 0
        to, own = to[free], own[free]
        allowed = may(to, own)
        to, own = to[allowed], own[allowed]
        number = np.arange(len(to))
        first[to[::-1]] = number[::-1]
        come_first = first[to] == number
        front = to[come_first]
        flat[front] = own[come_first]
    label[...] = flat[:-1].reshape(label.shape)


def _check_map(name: str, argument: str, label: Array, size: tuple[int, ...]) -> None:
    fits = (
        label.shape == size and np.issubdtype(label.dtype, np.integer) and label.min(initial=0) >= 0
    )
    given = f"{label.dtype} {label.shape}" if label.shape == size else f"of shape {label.shape}"
    require(bool(fits), name, argument, given, f"integers from 0 on {tuple(size)}")


def _check_tensors(name: str, **tensors: Tensor) -> None:
    for argument, given in tensors.items():
        require(isinstance(given, Tensor), name, argument, type(given).__name__, "a tensor")
    require_values(name, **tensors)
