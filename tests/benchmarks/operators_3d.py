"""Operators for generation and in space, at sizes of StyleGAN2, PointPillars, SECOND and VoteNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Bench = Callable[[Any], Callable[[], Any]]


def upfirdn2d(ext: Any) -> Callable[[], Any]:
    """Bench sampling up by 2, and its gradient: 64 channels of 64 × 64."""
    input, filter = torch.randn(4, 64, 64, 64), torch.rand(4, 4)
    grad = torch.randn(4, 64, 128, 128)

    def work() -> None:
        ext.upfirdn2d(input, filter, 2, 2, 1, 1, 2, 1, 2, 1, False, 4.0)
        ext.upfirdn2d(grad, filter, 1, 1, 2, 2, 1, 1, 1, 1, True, 4.0)

    return work


def voxelize(ext: Any) -> Callable[[], Any]:
    """Bench 120,000 points; 16,000 of their voxels (0.05 × 0.05 × 0.1) are kept."""
    points = torch.rand(120_000, 4) * torch.tensor([70.4, 80, 4, 1])
    limits = torch.tensor([0, 0, 0, 70.4, 80, 4])
    size = torch.tensor([0.05, 0.05, 0.1])

    def work() -> None:
        buffers = torch.zeros(16_000, 5, 4), torch.zeros(16_000, 3).int(), torch.zeros(16_000).int()
        number = torch.zeros((), dtype=torch.long)
        ext.hard_voxelize_forward(points, size, limits, *buffers, number, 5, 16_000, 3, True)

    return work


def sparse_conv(ext: Any) -> Callable[[], Any]:
    """Bench a submanifold convolution of 20,000 cells × 32 channels, with its pairs and gradients."""
    shape = [20, 200, 200]
    cells = (torch.rand(*shape) < 0.025).nonzero()
    cells = torch.cat([torch.zeros(len(cells), 1).long(), cells], 1).int()
    features, filters = torch.randn(len(cells), 32), torch.randn(3, 3, 3, 32, 32)
    grad, ones = torch.randn(len(cells), 32), [1, 1, 1]

    def work() -> None:
        sizes = (1, shape, shape, [3, 3, 3], ones, ones, ones, [0, 0, 0], 1, 0)
        out, pairs, numbers = ext.get_indice_pairs_3d_forward(cells, *sizes)
        ext.indice_conv_forward(features, filters, pairs, numbers, len(out), 0, 1)
        ext.indice_conv_backward(features, filters, grad, pairs, numbers, 0, 1)

    return work


def set_abstraction(ext: Any) -> Callable[[], Any]:
    """Bench 2,048 of 20,000 points, the furthest ones, and 64 around each."""
    points = torch.rand(1, 20_000, 3)
    index, around = torch.zeros(1, 2048).int(), torch.zeros(1, 2048, 64).int()

    def work() -> None:
        nearest = torch.full((1, 20_000), 1e10)
        ext.furthest_point_sampling_forward(points, nearest, index, b=1, n=20_000, m=2048)
        centers = points[:, index[0].long()]
        sizes = {"b": 1, "n": 20_000, "m": 2048, "nsample": 64}
        ext.ball_query_forward(centers, points, around, **sizes, min_radius=0.0, max_radius=0.2)

    return work


SCENARIOS: dict[str, tuple[str, Bench]] = {
    "upfirdn2d": ("upfirdn2d, 4 × 64 × 64 × 64 up by 2, forward and backward", upfirdn2d),
    "voxelize": ("Voxels of 120,000 points", voxelize),
    "sparse_conv": ("Submanifold convolution, 20,000 × 32, forward and backward", sparse_conv),
    "set_abstraction": ("2,048 furthest points and balls of 64, of 20,000", set_abstraction),
}
"""Option → title and what makes a turn."""
WITHOUT_CPU = {"upfirdn2d", "sparse_conv", "set_abstraction"}
"""MMCV 2.1.0 has kernels for CUDA only."""
