"""Convolution and batch norm as one convolution while the norm is in eval mode (arXiv:2305.11624)."""

from __future__ import annotations

from operator import attrgetter
from typing import Any

import torch
from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd


def turn_on_efficient_conv_bn_eval(model: nn.Module, modules: list[str] | str) -> None:
    """Fuse the convolution–norm pairs in parts of ``model``, where the norm is in eval mode.

    The weights stay where they are and can be trained; in training mode of the norm nothing changes. Stands for
    MMEngine's function of that name.

    Args:
        model: Changed in place: each part gets a traced ``forward``.
        modules: Paths of submodules that `torch.fx` can trace, such as ``"backbone"``.

    Raises:
        AttributeError: There is no such submodule.

    Example:
        >>> net = nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))).eval()
        >>> x = torch.ones(1, 1, 2, 2)
        >>> before = net(x)
        >>> turn_on_efficient_conv_bn_eval(net, "0")
        >>> torch.allclose(net(x), before)
        True
    """
    for path in [modules] if isinstance(modules, str) else modules:
        turn_on_efficient_conv_bn_eval_for_single_model(attrgetter(path)(model))


def turn_on_efficient_conv_bn_eval_for_single_model(model: nn.Module) -> None:
    """Replace ``model.forward`` by one with fused pairs."""
    traced = fx.symbolic_trace(model)
    efficient_conv_bn_eval_graph_transform(traced)
    model.forward = traced.forward


def efficient_conv_bn_eval_forward(bn: Any, conv: Any, x: torch.Tensor) -> torch.Tensor:
    """Return ``bn(conv(x))`` for a norm in eval mode, by scaling the weights of ``conv`` instead of its output.

    Args:
        bn: A batch norm, with or without weight and bias.
        conv: A convolution, with or without bias.
        x: Its input.
    """

    def given(value: torch.Tensor | None, default: Any) -> torch.Tensor:
        return default(bn.running_var) if value is None else value

    per_output = (-1, *[1] * (conv.weight.dim() - 1))
    scale = torch.rsqrt(bn.running_var + bn.eps).reshape(per_output)
    scale = given(bn.weight, torch.ones_like).reshape(per_output) * scale
    bias = given(conv.bias, torch.zeros_like) - bn.running_mean
    bias = given(bn.bias, torch.zeros_like) + scale.flatten() * bias
    return conv._conv_forward(x, conv.weight * scale, bias)


def efficient_conv_bn_eval_control(bn: Any, conv: Any, x: torch.Tensor) -> torch.Tensor:
    """Return ``bn(conv(x))``, fused if the norm is in eval mode."""
    if not bn.training:
        return efficient_conv_bn_eval_forward(bn, conv, x)
    return bn(conv._conv_forward(x, conv.weight, conv.bias))


def efficient_conv_bn_eval_graph_transform(fx_model: fx.GraphModule) -> None:
    """Replace, in place, each norm whose input is a convolution with no other user, together with that convolution."""
    modules = dict(fx_model.named_modules())

    def module_of(node: Any) -> nn.Module | None:
        return modules.get(node.target) if getattr(node, "op", None) == "call_module" else None

    pairs = [
        (node.args[0], node)
        for node in fx_model.graph.nodes
        if isinstance(module_of(node), _BatchNorm)
        and isinstance(module_of(node.args[0]), _ConvNd)
        and len(node.args[0].users) == 1
    ]
    for conv, bn in pairs:
        with fx_model.graph.inserting_before(conv):
            create = fx_model.graph.create_node
            get_conv = create("get_attr", conv.target, name="get_conv")
            get_bn = create("get_attr", bn.target, name="get_bn")
            args = (get_bn, get_conv, conv.args[0])
            fused = create("call_function", efficient_conv_bn_eval_control, args, name="conv_bn")
        bn.replace_all_uses_with(fused)
        fx_model.graph.erase_node(bn)
        fx_model.graph.erase_node(conv)
    fx_model.graph.lint()
    fx_model.recompile()
