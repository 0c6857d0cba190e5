"""What one forward pass costs, without a trace; the module has the name that toolboxes import."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from mm2pl.analysis.complexity_analysis import parameter_count
from mm2pl.analysis.counter import OperationCounter
from mm2pl.analysis.formatting import _format_size as _format_size
from mm2pl.analysis.formatting import draw_table
from mm2pl.analysis.statistics import complexity_stats_str as complexity_stats_str
from mm2pl.analysis.statistics import complexity_stats_table as complexity_stats_table
from mm2pl.utils import is_tuple_of


def get_model_complexity_info(
    model: nn.Module,
    input_shape: tuple[int, ...] | tuple[tuple[int, ...], ...] | None = None,
    inputs: Any = None,
    show_table: bool = True,
    show_arch: bool = True,
) -> dict[str, Any]:
    """Count what one forward pass costs; stands for `mmengine.analysis.get_model_complexity_info`.

    Args:
        model: In the mode (train or eval) in which it is to be measured.
        input_shape: The shape, or shapes, of random inputs; without the batch dimension, which is 1.
        inputs: The inputs themselves, instead.
        show_table: Return ``out_table``, a table by module.
        show_arch: Return ``out_arch``, the model's text with a line of counts for each module.

    Returns:
        ``flops``, ``activations``, ``params``, each also as ``…_str``; ``out_table``; ``out_arch``.

    Raises:
        ValueError: Not exactly one of ``input_shape`` and ``inputs`` is given.
    """
    if input_shape is None and inputs is None:
        raise ValueError('One of "input_shape" and "inputs" should be set.')
    if input_shape is not None and inputs is not None:
        raise ValueError('"input_shape" and "inputs" cannot be both set.')
    if input_shape is not None:
        inputs = _random_inputs(input_shape, next(model.parameters()).device)
    # Without autograd, which would keep all activations in memory; MMEngine 0.10.7 leaves it on.
    with torch.no_grad(), OperationCounter(model) as counter:
        model(*(inputs if isinstance(inputs, tuple) else (inputs,)))
    totals = {
        "flops": counter.flops[""],
        "activations": counter.activations[""],
        "params": parameter_count(model)[""],
    }
    return {
        **totals,
        **{f"{name}_str": _format_size(total) for name, total in totals.items()},
        "out_table": f"\n{_table(model, counter)}" if show_table else "",
        "out_arch": f"\n{_architecture(model, counter)}" if show_arch else "",
    }


def _random_inputs(shape: Any, device: torch.device) -> tuple[torch.Tensor, ...]:
    shapes = (shape,) if is_tuple_of(shape, int) else shape
    if not is_tuple_of(shapes, tuple) or not all(is_tuple_of(one, int) for one in shapes):
        raise ValueError(
            f'"input_shape" is {shape!r} → a tuple of integers for one input, or a tuple of such tuples for several'
        )
    return tuple(torch.randn(1, *one).to(device) for one in shapes)


def _table(model: nn.Module, counter: OperationCounter, depth: int = 3) -> str:
    """Return a table of the modules down to a depth."""
    parameters = parameter_count(model)
    rows = [("module", "#parameters", "#flops", "#activations")]
    for name, _ in model.named_modules():
        level = name.count(".") + bool(name)
        if level <= depth:
            counts = (parameters[name], counter.flops[name], counter.activations[name])
            label = " " * level + (name or "model")
            rows.append((label, *(_format_size(c, hide_zero=True) for c in counts)))
    return draw_table(rows)


def _architecture(model: nn.Module, counter: OperationCounter, name: str = "") -> str:
    """Return ``repr(model)`` with the counts of each module."""
    counts = {
        "#params": parameter_count(model)[""],
        "#flops": counter.flops[name],
        "#acts": counter.activations[name],
    }
    text = ", ".join(f"{label}: {_format_size(n)}" for label, n in counts.items() if n)
    lines = [line for line in (model.extra_repr(), text) if line]
    lines += [
        f"({child}): {_architecture(module, counter, f'{name}.{child}'.lstrip('.'))}"
        for child, module in model.named_children()
    ]
    body = "\n".join(lines).replace("\n", "\n  ")
    return f"{type(model).__name__}(\n  {body}\n)" if body else f"{type(model).__name__}()"
