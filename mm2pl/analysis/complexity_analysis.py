"""Flops and activations of a traced model, and its parameters."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from torch import nn

from mm2pl.analysis.formatting import _format_size, draw_table
from mm2pl.analysis.jit_analysis import JitModelAnalysis
from mm2pl.analysis.jit_handles import (
    Handle,
    addmm_flop_jit,
    batchnorm_flop_jit,
    bmm_flop_jit,
    conv_flop_jit,
    einsum_flop_jit,
    elementwise_flop_counter,
    generic_activation_jit,
    linear_flop_jit,
    matmul_flop_jit,
    norm_flop_counter,
)

_DEFAULT_SUPPORTED_FLOP_OPS: dict[str, Handle] = {
    "aten::addmm": addmm_flop_jit,
    "aten::bmm": bmm_flop_jit,
    "aten::_convolution": conv_flop_jit,
    "aten::einsum": einsum_flop_jit,
    "aten::matmul": matmul_flop_jit,
    "aten::mm": matmul_flop_jit,
    "aten::linear": linear_flop_jit,
    "aten::batch_norm": batchnorm_flop_jit,
    # The number is the weight's place among the operator's arguments.
    "aten::group_norm": norm_flop_counter(2),
    "aten::layer_norm": norm_flop_counter(2),
    "aten::instance_norm": norm_flop_counter(1),
    "aten::upsample_nearest2d": elementwise_flop_counter(0, 1),
    "aten::upsample_bilinear2d": elementwise_flop_counter(0, 4),
    "aten::adaptive_avg_pool2d": elementwise_flop_counter(1, 0),
    "aten::grid_sampler": elementwise_flop_counter(0, 4),  # as if bilinear
}

_DEFAULT_SUPPORTED_ACT_OPS: dict[str, Handle] = {
    "aten::_convolution": generic_activation_jit("conv"),
    **dict.fromkeys(
        # Without `aten::mm`, as in MMEngine 0.10.7; its flops count all the same.
        ("aten::addmm", "aten::bmm", "aten::einsum", "aten::matmul", "aten::linear"),
        generic_activation_jit(),
    ),
}


class FlopAnalyzer(JitModelAnalysis):
    """Count flops by module and operator; stands for `mmengine.analysis.FlopAnalyzer`.

    A multiplication with its addition counts as one. The arguments are those of :class:`JitModelAnalysis`.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Flatten(), nn.Linear(1000, 10))
        >>> flops = FlopAnalyzer(model, torch.ones(1, 3, 10, 10))
        >>> flops.total(), flops.total("2"), flops.by_operator()
        (13000, 10000, Counter({'linear': 10000, 'conv': 3000}))
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__(model, inputs)
        self.set_op_handle(**_DEFAULT_SUPPORTED_FLOP_OPS)


class ActivationAnalyzer(JitModelAnalysis):
    """Count the outputs of convolutions and matrix products; `mmengine.analysis.ActivationAnalyzer`.

    The arguments are those of :class:`JitModelAnalysis`.
    """

    def __init__(self, model: nn.Module, inputs: Any) -> None:
        super().__init__(model, inputs)
        self.set_op_handle(**_DEFAULT_SUPPORTED_ACT_OPS)


def flop_count(
    model: nn.Module, inputs: Any, supported_ops: dict[str, Handle] | None = None
) -> tuple[defaultdict[str, float], Counter[str]]:
    """Return the gigaflops by operator, and how often operators came that are not counted.

    Args:
        model: See :class:`FlopAnalyzer`.
        inputs: The same.
        supported_ops: Handles for more operators, or instead of the default ones.
    """
    return _scaled(FlopAnalyzer(model, inputs), supported_ops, 1e9)


def activation_count(
    model: nn.Module, inputs: Any, supported_ops: dict[str, Handle] | None = None
) -> tuple[defaultdict[str, float], Counter[str]]:
    """Return the millions of activations by operator; see :func:`flop_count`."""
    return _scaled(ActivationAnalyzer(model, inputs), supported_ops, 1e6)


def _scaled(
    analysis: JitModelAnalysis, supported_ops: dict[str, Handle] | None, unit: float
) -> tuple[defaultdict[str, float], Counter[str]]:
    counts = analysis.set_op_handle(**supported_ops or {}).by_operator()
    scaled = defaultdict(float, {name: count / unit for name, count in counts.items()})
    return scaled, analysis.unsupported_ops()


def parameter_count(model: nn.Module) -> Counter[str]:
    """Count the parameters of every module of ``model`` and of every parameter by name; ``''`` is the model."""
    counts: Counter[str] = Counter()
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        # Up to the whole name: a parameter is listed like a module.
        for depth in range(len(parts) + 1):
            counts[".".join(parts[:depth])] += parameter.numel()
    return counts


def parameter_count_table(model: nn.Module, max_depth: int = 3) -> str:
    """Return a table of the numbers of parameters, and of the parameters' shapes.

    Args:
        model: Any module.
        max_depth: How many levels below the model are listed.
    """
    shapes = {name: str(tuple(p.shape)) for name, p in model.named_parameters()}
    rows = [("name", "#elements or shape")]
    for name, count in parameter_count(model).items():
        level = name.count(".") + bool(name)
        if level <= max_depth:
            indent = " " * level
            rows.append(
                (indent + (name or "model"), indent + shapes.get(name, _format_size(count, 1)))
            )
    return draw_table(rows)
