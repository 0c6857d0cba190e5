"""What an operator of a traced graph costs.

A handle takes the operator's inputs and outputs, as values of the graph, and returns a number or, under
names of its own, a Counter. One multiply-add is one flop; biases are free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

Handle = Callable[[list[Any], list[Any]], "Counter[str] | float"]


def get_shape(val: Any) -> list[int] | None:
    """Return the sizes of a value of the graph; None if it is not a tensor."""
    return val.type().sizes() if val.isCompleteTensor() else None


def _shapes(values: list[Any]) -> list[list[int]]:
    shapes = [get_shape(value) for value in values]
    known = [shape for shape in shapes if shape is not None]
    assert len(known) == len(shapes), f"not all tensors: {values}"
    return known


def generic_activation_jit(op_name: str | None = None) -> Handle:
    """Return a handle that counts the output's elements, as ``op_name`` if it is given."""

    def count(inputs: list[Any], outputs: list[Any]) -> Counter[str] | float:
        elements = prod(_shapes(outputs[:1])[0])
        return elements if op_name is None else Counter({op_name: elements})

    return count


def addmm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """Count ``aten::addmm``: (N, I) × (I, O) → N·I·O."""
    left, right = _shapes(inputs[1:3])
    assert len(left) == len(right) == 2, f"addmm of {left} and {right}"
    return prod(left) * right[1]


def linear_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """Count ``aten::linear``: (…, I) with the weight (O, I) → …·I·O."""
    left, weight = _shapes(inputs[:2])
    assert left[-1] == weight[-1], f"linear of {left} by {weight}"
    return prod(left) * weight[0]


def bmm_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """Count ``aten::bmm``: (N, C, T) × (N, T, D) → N·C·T·D."""
    left, right = _shapes(inputs)
    return prod(left) * right[-1]


def conv_flop_count(
    x_shape: list[int], w_shape: list[int], out_shape: list[int], transposed: bool = False
) -> int:
    """Return the flops of a convolution: the kernel at every place where it is laid.

    Args:
        x_shape: (N, C, …)
        w_shape: The kernel's.
        out_shape: (N, C', …)
        transposed: The places are those of the input, not of the output.
    """
    places = x_shape if transposed else out_shape
    return x_shape[0] * prod(w_shape) * prod(places[2:])


def conv_flop_jit(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Count ``aten::_convolution`` as ``conv``."""
    # torch has added `allow_tf32` as the thirteenth.
    assert len(inputs) in (12, 13), f"aten::_convolution with {len(inputs)} inputs"
    x, weight, out = _shapes([*inputs[:2], outputs[0]])
    return Counter({"conv": conv_flop_count(x, weight, out, inputs[6].toIValue())})


def einsum_flop_jit(inputs: list[Any], outputs: list[Any]) -> float:
    """Count ``aten::einsum``; of more than two operands along NumPy's best path."""
    equation = inputs[0].toIValue().replace(" ", "")
    shapes = _shapes(list(inputs[1].node().inputs()))
    terms, _, result = equation.partition("->")
    # Exact: NumPy's report has four digits, so MMEngine's einsum is rounded beyond that.
    if len(shapes) == 2 and "." not in equation and set(terms) - {*result, ","}:
        letters = zip("".join(terms.split(",")), [*shapes[0], *shapes[1]], strict=True)
        return prod(dict(letters).values())
    # NumPy tells the costs only in this text.
    report = np.einsum_path(equation, *map(np.zeros, shapes), optimize="optimal")[1]
    for line in report.splitlines():
        if "optimized flop" in line.lower():  # counts multiplications and additions
            return float(float(line.rpartition(":")[2]) // 2)
    raise NotImplementedError(f"NumPy does not say what {equation!r} costs")


def matmul_flop_jit(inputs: list[Any], outputs: list[Any]) -> int:
    """Count ``aten::matmul``; a vector is a row on the left and a column on the right."""
    left, right = _shapes(inputs)
    # torch.matmul's own rule.
    left = [1, *left] if len(left) == 1 else left
    right = [*right, 1] if len(right) == 1 else right
    assert left[-1] == right[-2], f"matmul of {left} and {right}"
    return prod(left) * right[-1]


def norm_flop_counter(affine_arg_index: int) -> Handle:
    """Return a handle of a norm layer: 5 flops an element, 4 without weight.

    Args:
        affine_arg_index: Which input is the weight.
    """

    def count(inputs: list[Any], outputs: list[Any]) -> int:
        (shape,) = _shapes(inputs[:1])
        assert 2 <= len(shape) <= 5, f"norm of {shape}"
        # fvcore's rough estimate, which MMEngine took over.
        return prod(shape) * (4 if get_shape(inputs[affine_arg_index]) is None else 5)

    return count


def batchnorm_flop_jit(inputs: list[Any], outputs: list[Any]) -> Counter[str] | float:
    """Count ``aten::batch_norm``; with fixed statistics 2 flops an element, 1 without weight."""
    training = inputs[5].toIValue()
    assert isinstance(training, bool), f"aten::batch_norm's sixth input is {training!r}"
    if training:
        return norm_flop_counter(1)(inputs, outputs)
    return prod(_shapes(inputs[:1])[0]) * (1 if get_shape(inputs[1]) is None else 2)


def elementwise_flop_counter(input_scale: float = 1, output_scale: float = 0) -> Handle:
    """Return a handle: so many flops an element of the first input and of the first output."""

    def count(inputs: list[Any], outputs: list[Any]) -> float:
        scaled = ((input_scale, inputs), (output_scale, outputs))
        return sum(scale * prod(_shapes(values[:1])[0]) for scale, values in scaled if scale)

    return count
