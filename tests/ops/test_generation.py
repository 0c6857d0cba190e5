"""Filters and activations of generators, and correlation: against loops, in float64; gradients; edges; bad input."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from mm2pl import ops
from mm2pl.errors import ArgumentError
from mm2pl.ops.activation import ACTIVATIONS
from mm2pl.ops.ext import FUNCTIONS
from tests.ops import generation_loops
from tests.ops.test_ops import F64, random, same

NONE = torch.zeros(0, **F64)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


RESAMPLING = {
    "filtered": ((4, 3), (1, 1), (1, 1), (1, 2, 0, 3), False, 1.0),
    "up": ((4, 4), (2, 2), (1, 1), (2, 1, 2, 1), False, 4.0),
    "up, more than taps": ((1, 2), (3, 4), (1, 1), (1, 0, 2, 0), True, 2.0),
    "down": ((3, 4), (1, 1), (2, 3), (1, 1, 1, 1), True, 1.0),
    "up and down": ((3, 5), (2, 3), (3, 2), (3, 2, 1, 4), False, 0.5),
    "cropped": ((2, 2), (2, 1), (1, 2), (-2, 1, 1, -1), False, 1.0),
    "cropped by more than the image has": ((2, 3), (1, 1), (1, 1), (-6, 8, 7, -5), False, 1.0),
    "up and cropped by more": ((2, 2), (2, 2), (1, 1), (14, -11, -9, 12), True, 1.0),
    "separable": ((4,), (2, 1), (1, 2), (2, 1, 1, 2), False, 4.0),
    "separable, flipped": ((3,), (1, 2), (2, 1), (1, 1, 1, 1), True, 2.0),
}


@pytest.mark.parametrize("name", RESAMPLING)
def test_upfirdn2d(name: str) -> None:
    shape, *settings = RESAMPLING[name]
    input, filter = random(2, 3, 4, 5), random(*shape)
    assert same(
        ops.upfirdn2d(input, filter, *settings),
        generation_loops.upfirdn2d,
        input,
        filter,
        *settings,
    )
    run = lambda x, f: ops.upfirdn2d(x, f, *settings)  # noqa: E731
    assert gradcheck(run, (input, filter), fast_mode=True)
    assert gradgradcheck(run, (input, filter), fast_mode=True)


def test_upfirdn2d_without_a_filter() -> None:
    input = random(1, 2, 3, 3)
    assert torch.equal(ops.upfirdn2d(input, None), input)
    assert ops.upfirdn2d(random(0, 2, 3, 3), torch.ones(2, 2, **F64), 2).shape == (0, 2, 5, 5)
    one, four = (
        ops.upfirdn2d(input, NONE.new_ones(2, 2), 2, 2, each) for each in (1, (1, 1, 1, 1))
    )
    assert torch.equal(one, four)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [None, 0.5])
def test_bias_act(name: str, clamp: float | None) -> None:
    input, bias = random(2, 3, 4), random(3)
    gain = math.sqrt(2) if name in ("relu", "lrelu", "swish") else 1.0
    x = (input + bias[:, None]).detach()
    wanted = {
        "linear": x,
        "relu": x.clamp(min=0),
        "lrelu": torch.where(x > 0, x, 0.2 * x),
        "tanh": x.tanh(),
        "sigmoid": 1 / (1 + (-x).exp()),
        "elu": torch.where(x > 0, x, x.exp() - 1),
        "selu": 1.0507009873554805 * torch.where(x > 0, x, 1.6732632423543772 * (x.exp() - 1)),
        "softplus": (1 + x.exp()).log(),
        "swish": x / (1 + (-x).exp()),
    }[name] * gain
    wanted = wanted if clamp is None else wanted.clamp(-clamp, clamp)
    run = lambda x, b: ops.bias_act(x, b, 1, name, clamp=clamp)  # noqa: E731
    assert torch.allclose(run(input, bias), wanted, rtol=0, atol=1e-12)
    assert gradcheck(run, (input, bias), fast_mode=True)


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("clamp", [-1.0, 0.5])
def test_gradients_of_bias_act_by_what_is_kept(name: str, clamp: float) -> None:
    activation, bias = ACTIVATIONS[name], random(3).detach()
    input, v, w = random(2, 3, 4), random(2, 3, 4), random(2, 3, 4).detach()
    settings = (1, [*ACTIVATIONS].index(name) + 1, activation.alpha, 1.5)
    limit = None if clamp < 0 else clamp
    y = ops.bias_act(input, bias, 1, name, activation.alpha, 1.5, limit)
    ext = FUNCTIONS["bias_act"]
    assert torch.equal(ext(input.detach(), bias, NONE, NONE, NONE, 0, *settings, clamp), y)
    kept = (input.detach(), NONE) if activation.keeps == "x" else (NONE, y.detach())
    (grad,) = torch.autograd.grad(y, input, v, create_graph=True)
    ours = ext(v.detach(), bias, *kept, NONE, 1, *settings, clamp)
    assert torch.allclose(ours, grad, rtol=0, atol=1e-12)
    if grad.grad_fn is not None and name in ("tanh", "sigmoid", "elu", "selu", "softplus", "swish"):
        (second,) = torch.autograd.grad(grad, input, w)
        ours = ext(w, bias, *kept, v.detach(), 2, *settings, clamp)
        assert torch.allclose(ours, second, rtol=0, atol=1e-12)
        assert second.any()


def test_no_second_derivative_of_straight_lines() -> None:
    y = random(2, 3).detach()
    assert not FUNCTIONS["bias_act"](y, NONE, NONE, y, y, 2, 1, 3, 0.2, 1.0, -1.0).any()


def test_fused_bias_leakyrelu() -> None:
    input, bias, grad = random(2, 3, 4), random(3), random(2, 3, 4).detach()
    out = ops.fused_bias_leakyrelu(input, bias, 0.1, 3.0)
    x = input + bias[:, None]
    assert torch.equal(out, torch.where(x > 0, x, 0.1 * x) * 3)
    ext = FUNCTIONS["fused_bias_leakyrelu"]
    settings: dict[str, Any] = {"act": 3, "alpha": 0.1, "scale": 3.0}
    given = input.detach(), bias.detach()
    assert torch.equal(ext(*given, NONE, grad=0, **settings), out)
    ours = ext(grad, NONE, out.detach(), grad=1, **settings)
    assert torch.allclose(ours, torch.autograd.grad(out, input, grad)[0], rtol=0, atol=1e-12)
    assert not ext(grad, NONE, out.detach(), grad=2, **settings).any()
    linear = ext(*given, NONE, act=1, grad=0, alpha=0.1, scale=3.0)
    assert torch.equal(linear, (given[0] + given[1][:, None]) * 3)


LRELU = {
    "up and down": (2, 2, (3, 2, 2, 4), 1.4, 0.2, 0.9, False),
    "flipped": (3, 1, (0, 1, 1, 0), 1.0, 0.0, 100.0, True),
    "down": (1, 2, (2, 2, 2, 2), 0.7, 0.5, 0.3, False),
}


@pytest.mark.parametrize("name", LRELU)
@pytest.mark.parametrize("taps", [((4,), (3,)), ((3, 2), (2, 3))])
def test_filtered_lrelu(name: str, taps: tuple[tuple[int, ...], tuple[int, ...]]) -> None:
    input, bias, settings = random(2, 2, 4, 5), random(2), LRELU[name]
    filters = [random(*shape).detach() for shape in taps]
    run = lambda x, b: ops.filtered_lrelu(x, *filters, b, *settings)  # noqa: E731
    out = run(input, bias)
    assert same(out, generation_loops.filtered_lrelu, input, *filters, bias, *settings)
    assert gradcheck(run, (input, bias), fast_mode=True)
    grad = torch.randn_like(out)
    wanted = torch.autograd.grad(out, input, grad)[0]
    ours, backward = as_mmcv_calls_it(input.detach(), filters, bias.detach(), settings, grad)
    assert torch.allclose(ours, out, rtol=0, atol=1e-12)
    assert torch.allclose(backward, wanted, rtol=0, atol=1e-11)


def as_mmcv_calls_it(
    input: Tensor, filters: list[Tensor], bias: Tensor, settings: tuple[Any, ...], grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Call ``filtered_lrelu`` forward, then with the signs that it has returned, transposed."""
    up, down, sides, gain, slope, clamp, flip = settings
    ext = FUNCTIONS["filtered_lrelu"]
    given = (*filters, bias, torch.empty(0, dtype=torch.uint8))
    last = (gain, slope, clamp, flip, True)
    out, signs, code = ext(input, *given, up, down, *sides, 0, 0, *last)
    assert code == 0
    left, _, top, _ = sides
    wide, tall = (filters[0].shape[k] + filters[1].shape[k] - 2 for k in (-1, 0))
    turned = [
        wide - left,
        input.shape[3] * up - out.shape[3] * down + left - (up - 1),
        tall - top,
        input.shape[2] * up - out.shape[2] * down + top - (up - 1),
    ]
    moved = left - filters[0].shape[-1] + 1, top - filters[0].shape[0] + 1
    last = (gain * up**2 / down**2, slope, math.inf, not flip, False)
    given = (*filters[::-1], torch.zeros_like(bias), signs)
    return out, ext(grad, *given, down, up, *turned, *moved, *last)[0]


def test_an_activation_in_place() -> None:
    x = torch.tensor([-3.0, -0.1, 0.1, 3.0], **F64).view(1, 1, 2, 2)
    grad, empty = torch.ones_like(x), torch.empty(0, dtype=torch.uint8)
    signs = FUNCTIONS["filtered_lrelu_act_"](x, empty, 0, 0, 2.0, 0.5, 1.0, True)
    assert x.flatten().tolist() == [-1.0, -0.1, 0.2, 1.0]
    assert signs.flatten().tolist() == [2, 1, 0, 2]
    FUNCTIONS["filtered_lrelu_act_"](grad, signs, 0, 0, 2.0, 0.5, math.inf, False)
    assert grad.flatten().tolist() == [0.0, 1.0, 2.0, 0.0]
    grad = torch.ones_like(x)
    FUNCTIONS["filtered_lrelu_act_"](grad, signs, 1, 0, 2.0, 0.5, math.inf, False)
    assert grad.flatten().tolist() == [1.0, 2.0, 0.0, 2.0]


CORRELATION = {
    "FlowNet": ((1, 1), 2, (1, 1), (0, 0), (1, 1), (2, 2)),
    "windows": ((3, 2), 1, (2, 1), (1, 2), (1, 2), (1, 1)),
    "unequal": ((1, 2), 1, (1, 2), (0, 1), (1, 1), (1, 2)),
}


@pytest.mark.parametrize("name", CORRELATION)
def test_correlation(name: str) -> None:
    inputs, settings = (random(2, 3, 5, 6), random(2, 3, 5, 6)), CORRELATION[name]
    run = lambda x, y: ops.correlation(x, y, *settings)  # noqa: E731
    out = run(*inputs)
    assert same(out, generation_loops.correlation, *inputs, *settings)
    assert gradcheck(run, inputs, fast_mode=True)
    assert gradgradcheck(run, inputs, fast_mode=True)
    kernel, most, stride, padding, dilation, patch = settings
    names = ("k", "patch", "d", "pad", "dilation", "dilation_patch")
    pairs = (kernel, (2 * most + 1,) * 2, stride, padding, dilation, patch)
    sizes = {
        f"{key}{axis}": value
        for key, pair in zip(names, pairs, strict=True)
        for axis, value in zip("HW", pair, strict=True)
    }
    buffers = [torch.zeros_like(each) for each in (out, *inputs)]
    plain, grad = [each.detach() for each in inputs], torch.randn_like(out)
    FUNCTIONS["correlation_forward"](*plain, buffers[0], **sizes)
    FUNCTIONS["correlation_backward"](grad, *plain, *buffers[1:], **sizes)
    for buffer, wanted in zip(buffers, (out, *torch.autograd.grad(out, inputs, grad)), strict=True):
        assert torch.allclose(buffer, wanted, rtol=0, atol=1e-12)


CALLS: dict[str, Callable[[Tensor], Tensor]] = {
    "upfirdn2d": lambda x: ops.upfirdn2d(x, torch.ones(3, 3), 2, 1, 1),
    "bias_act": lambda x: ops.bias_act(x, torch.ones(3).to(x), act="swish"),
    "filtered_lrelu": lambda x: ops.filtered_lrelu(x, torch.ones(3), torch.ones(3), None, 2, 2, 2),
    "correlation": lambda x: ops.correlation(x, x, 3, 1),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_is_computed_in_float32_also_under_autocast(name: str, kind: torch.dtype) -> None:
    input = torch.randn(2, 3, 6, 7).to(kind)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, whole = CALLS[name](input), CALLS[name](input.float())
    assert ours.dtype == kind
    assert whole.dtype == torch.float32
    assert torch.equal(whole, CALLS[name](input.float()))
    assert CALLS[name](input[:0]).shape == (0, *ours.shape[1:])


X, F = torch.zeros(1, 2, 4, 4), torch.ones(3, 3)
BYTES = torch.zeros(0, dtype=torch.uint8)
BAD: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    (ops.upfirdn2d, (X[0], F), r"upfirdn2d: input is of shape \(2, 4, 4\)"),
    (ops.upfirdn2d, (X, F[None]), r"upfirdn2d: filter is of shape \(1, 3, 3\)"),
    (ops.upfirdn2d, (X, F[:0]), "filter is without a tap"),
    (ops.upfirdn2d, (X.long(), F), "input is torch.int64"),
    (ops.upfirdn2d, (X, F, 0), "up is 0 → it must be an integer of at least 1"),
    (ops.upfirdn2d, (X, F, 1, (1, 2, 3)), r"down is \(1, 2, 3\)"),
    (ops.upfirdn2d, (X, F, 1, 1, (1, 2, 3)), r"padding is \(1, 2, 3\) → .* or four"),
    (ops.upfirdn2d, (X, F, 1, 1, -1), "padded image is of 2 × 2 pixels → .* 3 × 3"),
    (ops.bias_act, (X, F[0]), r"bias_act: bias is of shape \(3,\) → .* \(2\)"),
    (ops.bias_act, (X, F[0], 4), "dim is 4 → it must be a dimension of input, 0 to 3"),
    (ops.bias_act, (X, None, 1, "gelu"), "act is 'gelu' → it must be one of linear, relu"),
    (ops.bias_act, (X, None, 1, "relu", None, None, -1), "clamp is -1 → .* at least 0"),
    (ops.filtered_lrelu, (X, F, F, None, 1, 1, 2, 0), "gain is 0 → it must be greater than 0"),
    (ops.filtered_lrelu, (X, F, F, None, 1, 1, 2, 1, -1), "slope is -1"),
    (ops.filtered_lrelu, (X, F, F, None, [2, 2], 1, 2), r"up is \[2, 2\] → .* an integer"),
    (ops.correlation, (X, X[..., :3]), r"input2 is of shape \(1, 2, 4, 3\) → .*\(1, 2, 4, 4\)"),
    (ops.correlation, (X, X, 1, -1), "max_displacement is -1 → .* at least 0"),
    (ops.correlation, (X, X, 5), r"input1 is of 4 × 4 cells .* at least a window's 5 × 5"),
    (FUNCTIONS["bias_act"], (X, F, X, X, X, 3, 1, 1, 0, 1, -1), "grad is 3 → .* 0, 1 or 2"),
    (FUNCTIONS["bias_act"], (X, F, X, X, X, 0, 1, 10, 0, 1, -1), "act is 10 → .* 1 to 9"),
    (FUNCTIONS["bias_act"], (X, F, X, F, X, 1, 1, 3, 0, 1, -1), r"yref is of shape \(3, 3\)"),
    (FUNCTIONS["fused_bias_leakyrelu"], (X, F[0, :2], X, 2, 0, 0.2, 1), "act is 2 → .* 1 "),
    (FUNCTIONS["fused_bias_leakyrelu"], (X, F[0, :2], X, 3, 4, 0.2, 1), "grad is 4"),
    (FUNCTIONS["fused_bias_leakyrelu"], (X, F[0, :2], F, 3, 1, 0.2, 1), "empty is of shape"),
    (
        FUNCTIONS["filtered_lrelu_act_"],
        (X, BYTES.new_zeros(1, 1, 4, 4), 0, 0, 1, 0.2, 1, False),
        r"si is of shape \(1, 1, 4, 4\) → it must be \(1, 2, height, width\)",
    ),
]


@pytest.mark.parametrize(("function", "arguments", "message"), BAD)
def test_bad_input(function: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        function(*arguments)
