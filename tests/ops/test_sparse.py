"""Sparse convolution and pooling: against dense ones, where a cell is not given and elsewhere; gradients; bad input."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops.ext import FUNCTIONS
from tests.ops.test_ops import random

DENSE = {2: functional.conv2d, 3: functional.conv3d}
TURNED = {2: functional.conv_transpose2d, 3: functional.conv_transpose3d}


class Settings(NamedTuple):
    """Those of a convolution."""

    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    subm: bool = False
    transpose: bool = False

    def out_shape(self) -> list[int]:
        if self.subm:
            return [*self.shape]
        sizes = zip(self.shape, self.kernel, self.stride, self.padding, self.dilation, strict=True)
        if self.transpose:
            return [(n - 1) * s - 2 * p + k for n, k, s, p, _ in sizes]
        return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes]

    def pairs(self, indices: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        sizes = (self.kernel, self.stride, self.padding, self.dilation)
        return ops.indice_pairs(
            indices, 2, self.shape, self.out_shape(), *sizes, self.subm, self.transpose
        )


CASES = {
    "submanifold": Settings((4, 5, 6), (3, 3, 3), (1, 1, 1), (0, 0, 0), (1, 1, 1), subm=True),
    "submanifold, flat kernel": Settings((4, 5), (1, 3), (1, 1), (0, 0), (1, 1), subm=True),
    "stride": Settings((5, 6, 7), (3, 3, 3), (2, 2, 2), (1, 0, 1), (1, 1, 1)),
    "unequal": Settings((5, 6, 7), (3, 1, 2), (2, 1, 3), (0, 1, 1), (1, 1, 1)),
    "dilation": Settings((6, 7), (3, 2), (1, 1), (1, 2), (2, 3)),
    "transposed": Settings((3, 4), (3, 2), (2, 1), (1, 0), (1, 1), transpose=True),
}


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def cells(shape: tuple[int, ...], share: float = 0.3) -> Tensor:
    """Return some cells of two samples, in any order."""
    found = (torch.rand(2, *shape) < share).nonzero()
    return found[torch.randperm(len(found))].int()


def dense(features: Tensor, indices: Tensor, shape: Any, empty: float = 0.0) -> Tensor:
    out = features.new_full((2, *shape, features.shape[1]), empty)
    return out.index_put(tuple(indices.long().T), features).movedim(-1, 1)


def at(map_: Tensor, indices: Tensor) -> Tensor:
    return map_.movedim(1, -1)[tuple(indices.long().T)]


@pytest.mark.parametrize("name", CASES)
def test_indice_conv(name: str) -> None:
    case = CASES[name]
    axes, indices = len(case.shape), cells(case.shape)
    features, filters = random(len(indices), 3), random(*case.kernel, 3, 4)
    out, pairs, numbers = case.pairs(indices)
    run = lambda x, w: ops.indice_conv(x, w, pairs, numbers, len(out))  # noqa: E731
    ours, weight = run(features, filters), filters.movedim(-1, 0).movedim(-1, 1)
    settings = {"stride": case.stride, "padding": case.padding}
    given = dense(features, indices, case.shape)
    if case.transpose:
        whole = TURNED[axes](given, weight.transpose(0, 1), **settings)
    else:
        settings |= {"padding": [k // 2 for k in case.kernel]} if case.subm else {}
        whole = DENSE[axes](given, weight, dilation=case.dilation, **settings)
    assert torch.allclose(ours, at(whole, out), rtol=0, atol=1e-12)
    if case.subm:
        assert torch.equal(out, indices)
    else:  # every other cell is 0
        left = whole.movedim(1, -1).index_put(tuple(out.long().T), torch.zeros_like(ours))
        assert torch.equal(left, torch.zeros_like(left))
        assert out.tolist() == sorted(out.tolist())
    assert gradcheck(run, (features, filters), fast_mode=True)
    assert gradgradcheck(run, (features, filters), fast_mode=True)


@pytest.mark.parametrize("name", ["stride", "submanifold", "dilation"])
def test_pairs(name: str) -> None:
    case = CASES[name]
    indices = cells(case.shape)
    out, pairs, numbers = case.pairs(indices)
    places = {tuple(cell): row for row, cell in enumerate(out.tolist())}
    padding = [k // 2 for k in case.kernel] if case.subm else case.padding
    for k, offset in enumerate(product(*map(range, case.kernel))):
        wanted = []
        for row, (sample, *cell) in enumerate(indices.tolist()):
            moved = [
                c + p - o * d
                for c, p, o, d in zip(cell, padding, offset, case.dilation, strict=True)
            ]
            stride = (1,) * len(cell) if case.subm else case.stride
            place = (sample, *(m // s for m, s in zip(moved, stride, strict=True)))
            if all(m % s == 0 for m, s in zip(moved, stride, strict=True)) and place in places:
                wanted.append([row, places[place]])
        assert pairs[k, :, : numbers[k]].T.tolist() == wanted
        assert (pairs[k, :, numbers[k] :] == -1).all()


def test_an_inverse_convolution() -> None:
    case = CASES["stride"]
    indices = cells(case.shape)
    out, pairs, numbers = case.pairs(indices)
    features, filters = random(len(out), 3), random(*case.kernel, 3, 4)
    run = lambda x, w: ops.indice_conv(x, w, pairs, numbers, len(indices), True)  # noqa: E731
    weight = filters.movedim(-1, 0).movedim(-1, 1).transpose(0, 1)
    whole = TURNED[3](dense(features, out, case.out_shape()), weight, stride=2)
    # Without the padding of the convolution, and with the cells that its last windows do not reach.
    whole = functional.pad(whole, (0, 2, 0, 2, 0, 2))[:, :, 1:6, 0:6, 1:8]
    assert torch.allclose(run(features, filters), at(whole, indices), rtol=0, atol=1e-12)
    assert gradcheck(run, (features, filters), fast_mode=True)


def test_four_axes() -> None:
    case = Settings((3, 3, 2, 3), (2, 2, 1, 2), (1, 1, 1, 1), (0, 0, 0, 0), (1, 1, 1, 1))
    indices = cells(case.shape)
    features, filters = random(len(indices), 2), random(*case.kernel, 2, 1)
    settings = (2, case.out_shape(), case.shape, *case[1:5], [0] * 4, 0, 0)
    out, pairs, numbers = FUNCTIONS["get_indice_pairs_4d_forward"](indices, *settings)
    ours = ops.indice_conv(features, filters, pairs, numbers, len(out))
    given = dense(features, indices, case.shape)
    wanted = torch.zeros_like(ours)
    for row, (b, t, z, y, x) in enumerate(out.tolist()):
        window = given[b, :, t : t + 2, z : z + 2, y : y + 1, x : x + 2]
        wanted[row] = (window.movedim(0, -1)[..., None] * filters).sum((0, 1, 2, 3, 4))
    assert torch.allclose(ours, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["stride", "submanifold"])
def test_indice_maxpool(name: str) -> None:
    case = CASES[name]
    indices = cells(case.shape)
    features = random(len(indices), 2)
    out, pairs, numbers = case.pairs(indices)
    run = lambda x: ops.indice_maxpool(x, pairs, numbers, len(out))  # noqa: E731
    padding = [k // 2 for k in case.kernel] if case.subm else case.padding
    given = dense(features, indices, case.shape)
    whole = functional.max_pool3d(given, case.kernel, case.stride, padding).clamp(min=0)
    assert torch.equal(run(features), at(whole, out))
    assert gradcheck(run, features, fast_mode=True)


def test_all_that_are_the_greatest_have_the_gradient() -> None:
    pairs = torch.tensor([[[0, 2], [0, 1]], [[1, -1], [0, -1]]])
    features = torch.tensor([[2.0], [2.0], [-1.0]], requires_grad=True)
    out = ops.indice_maxpool(features, pairs, torch.tensor([2, 1]), 2)
    assert out.flatten().tolist() == [2, 0]
    out.sum().backward()
    assert features.grad is not None
    assert features.grad.flatten().tolist() == [1, 1, 0]


@pytest.mark.parametrize("inverse", [False, True])
def test_the_calls(inverse: bool) -> None:
    case = CASES["unequal"]
    indices, sizes = cells(case.shape), (case.out_shape(), case.shape, *case[1:5], [0] * 3)
    found = FUNCTIONS["get_indice_pairs_3d_forward"](indices, 2, *sizes, 0, 0)
    grid = torch.full((2000,), -1, dtype=torch.int32)
    for one, other in zip(
        found,
        FUNCTIONS["get_indice_pairs_3d_backward"](indices, grid, 2, *sizes, 0, 0),
        strict=True,
    ):
        assert torch.equal(one, other)
    out, pairs, numbers = found
    taken, added = (out, indices) if inverse else (indices, out)
    features, filters, bias = random(len(taken), 3), random(*case.kernel, 3, 4), random(4)
    wanted = ops.indice_conv(features, filters, pairs, numbers, len(added), inverse)
    plain = features.detach(), filters.detach()
    last = pairs, numbers, len(added), int(inverse), 0
    assert torch.equal(FUNCTIONS["indice_conv_forward"](*plain, *last), wanted)
    fused = FUNCTIONS["fused_indice_conv_forward"](*plain, bias.detach(), *last)
    assert torch.equal(fused, wanted + bias)
    grad = torch.randn_like(wanted)
    ours = FUNCTIONS["indice_conv_backward"](*plain, grad, pairs, numbers, int(inverse), 0)
    for one, other in zip(
        ours, torch.autograd.grad(wanted, (features, filters), grad), strict=True
    ):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    if not inverse:
        pooled = ops.indice_maxpool(features, pairs, numbers, len(out))
        given = plain[0], pairs, numbers
        assert torch.equal(FUNCTIONS["indice_maxpool_forward"](*given, len(out)), pooled)
        grad = torch.randn_like(pooled)
        ours = FUNCTIONS["indice_maxpool_backward"](plain[0], pooled.detach(), grad, pairs, numbers)
        assert torch.equal(ours, torch.autograd.grad(pooled, features, grad)[0])


def test_gradients_of_a_maximum_are_summed_in_float32() -> None:
    pairs, numbers = torch.zeros(3, 2, 1, dtype=torch.int), torch.ones(3, dtype=torch.int)
    pairs[:, 1, 0] = torch.arange(3)
    features, grad = torch.ones(1, 1).half(), torch.tensor([[2048], [1], [1]]).half()
    given = features, features.expand(3, 1), grad, pairs, numbers
    assert FUNCTIONS["indice_maxpool_backward"](*given).item() == 2050


@pytest.mark.parametrize("name", CASES)
def test_no_cells(name: str) -> None:
    case = CASES[name]
    none = torch.zeros(0, len(case.shape) + 1, dtype=torch.int32)
    out, pairs, numbers = case.pairs(none)
    features, filters = random(0, 3), random(*case.kernel, 3, 4)
    result = ops.indice_conv(features, filters, pairs, numbers, len(out))
    result.sum().backward()
    assert result.shape == (0, 4)
    assert filters.grad is not None
    assert not filters.grad.any()
    assert ops.indice_maxpool(features, pairs, numbers, 0).shape == (0, 3)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_also_under_autocast(kind: torch.dtype) -> None:
    case = CASES["stride"]
    indices = cells(case.shape)
    out, pairs, numbers = case.pairs(indices)
    features, filters = torch.randn(len(indices), 3).to(kind), torch.randn(3, 3, 3, 3, 4).to(kind)
    run = lambda x, w: ops.indice_conv(x, w, pairs, numbers, len(out))  # noqa: E731
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, whole = run(features, filters), run(features.float(), filters.float())
    assert (half.dtype, whole.dtype) == (kind, torch.float32)
    assert torch.equal(whole, run(features.float(), filters.float()))
    assert torch.equal(half, whole.to(kind))


I2 = torch.tensor([[0, 1, 1], [1, 2, 0]])
GIVEN: dict[str, Any] = {"indices": I2, "batch_size": 2, "spatial_shape": (3, 3)}
GIVEN |= {"out_shape": (3, 3), "kernel_size": (3, 3), "stride": (1, 1), "padding": (1, 1)}
GIVEN |= {"dilation": (1, 1)}
PAIRS = (torch.zeros(9, 2, 4).int(), torch.ones(9).int(), 3)
X, W = torch.zeros(4, 2), torch.zeros(3, 3, 2, 5)
BAD: list[tuple[Callable[..., Any], str]] = [
    (lambda: ops.indice_pairs(**{**GIVEN, "indices": I2.float()}), "indices is torch.float32"),
    (
        lambda: ops.indice_pairs(**{**GIVEN, "indices": I2 + 1}),
        r"\[:, 0\] is from 1 to 2 → .* 0 to 1",
    ),
    (lambda: ops.indice_pairs(**{**GIVEN, "spatial_shape": (3, 1)}), r"\[:, 2\] is from 0 to 1"),
    (
        lambda: ops.indice_pairs(**{**GIVEN, "kernel_size": (3,)}),
        r"kernel_size is \(3,\) → .* 2 int",
    ),
    (
        lambda: ops.indice_pairs(**{**GIVEN, "stride": (0, 1)}),
        r"stride is \(0, 1\) → .* at least 1",
    ),
    (lambda: ops.indice_pairs(**{**GIVEN, "padding": (-1, 1)}), "padding is .* at least 0"),
    (lambda: ops.indice_pairs(**GIVEN | {"dilation": (2, 1)}, subm=True), r"dilation is \(2, 1\)"),
    (lambda: ops.indice_conv(X, W[..., :1, :], *PAIRS), r"filters is of shape .*\(k, k, 2, out\)"),
    (lambda: ops.indice_conv(X, W[0], *PAIRS), "of 9 places in the kernel → .* the filters' 3"),
    (lambda: ops.indice_conv(X, W.double(), *PAIRS), "dtype is torch.float32 of features"),
    (lambda: ops.indice_conv(X, W, PAIRS[0] + 3, *PAIRS[1:]), "indice_pairs is from 3 to 3 → .* 2"),
    (lambda: ops.indice_conv(X, W, PAIRS[0], PAIRS[1] * 5, 3), "indice_pair_num is from 5 to 5"),
    (lambda: ops.indice_maxpool(X, PAIRS[0][:, 0], *PAIRS[1:]), r"indice_pairs is .*\(K, 2, N\)"),
    (lambda: ops.indice_maxpool(X.long(), *PAIRS), "features is torch.int64"),
    (
        lambda: FUNCTIONS["fused_indice_conv_forward"](X, W, X[0], *PAIRS, 0, 0),
        r"bias is of shape \(2,\) → it must be \(5,\)",
    ),
    (
        lambda: FUNCTIONS["get_indice_pairs_3d_forward"](I2, 2, *[(3, 3)] * 7, 0, 0),
        "get_indice_pairs_3d: indices is of 3 columns → it must be of 4 columns",
    ),
]


@pytest.mark.parametrize(("call", "message"), BAD)
def test_bad_input(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        call()
