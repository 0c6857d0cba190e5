"""What every operator does with its arguments: one message for a wrong one, full precision for the others."""

from __future__ import annotations

import contextlib
import inspect
import reprlib
from collections.abc import Callable
from functools import wraps
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy.typing as npt
import torch
from torch import Tensor

from mm2pl.errors import ArgumentError

P = ParamSpec("P")
Result = TypeVar("Result", bound=Tensor | tuple[Tensor, ...])


def require(holds: bool, operator: str, argument: str, given: object, accepted: str) -> None:
    """Refuse an argument.

    Raises:
        ArgumentError: ``holds`` is false.
    """
    if not holds:
        raise ArgumentError(f"{operator}: {argument} is {given} → it must be {accepted}")


def values_are_known(tensor: Tensor) -> bool:
    """Return whether values can be checked: not on ``meta``, nor in a graph that torch is making."""
    return not torch.compiler.is_compiling() and not tensor.is_meta


def require_values(operator: str, **tensors: Tensor) -> None:
    """Refuse tensors without values, on ``meta``, where they decide the shape of the result.

    Raises:
        ArgumentError: One of them has none.
    """
    for argument, tensor in tensors.items():
        device = "a device that holds values"
        require(not tensor.is_meta, operator, argument, "on the device meta", f"on {device}")


def require_tensors(operator: str, **tensors: tuple[Tensor, tuple[int | str, ...]]) -> None:
    """Check that arguments are floating-point tensors of given shapes, all on one device.

    Args:
        operator: Its name.
        **tensors: Each argument with its shape: a number is that size, a name any.

    Raises:
        ArgumentError: One of them is not.
    """
    for argument, (tensor, shape) in tensors.items():
        wanted = f"a floating-point tensor ({', '.join(map(str, shape))})"
        require(isinstance(tensor, Tensor), operator, argument, type(tensor).__name__, wanted)
        require(tensor.is_floating_point(), operator, argument, str(tensor.dtype), wanted)
        fits = tensor.dim() == len(shape) and all(
            isinstance(size, str) or size == has
            for size, has in zip(shape, tensor.shape, strict=True)
        )
        require(fits, operator, argument, f"of shape {tuple(tensor.shape)}", wanted)
    require_one(operator, "device", **{name: tensor for name, (tensor, _) in tensors.items()})


KINDS: dict[str, tuple[type, str]] = {
    "None": (type(None), "None"),
    "Tensor": (Tensor, "a tensor"),
    "float": (Real, "a number"),
    "int": (Integral, "an integer"),
    "str": (str, "a string"),
}


def of_kinds(operator: Callable[P, Result]) -> Callable[P, Result]:
    """Check that arguments are of the kinds that the operator's signature names, and its tensors on one device.

    Another kind than those of ``KINDS`` is the operator's to check. In a graph nothing is checked.
    """
    parameters = inspect.signature(operator).parameters
    named = {key: each.annotation.split(" | ") for key, each in parameters.items()}
    kinds = {key: [KINDS[each] for each in of] for key, of in named.items() if {*of} <= {*KINDS}}

    @wraps(operator)
    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        if not torch.compiler.is_compiling():
            given = {**dict(zip(parameters, args, strict=False)), **kwargs}
            for key in kinds.keys() & given.keys():
                _require_kind(operator.__name__, key, given[key], kinds[key])
            tensors = {key: each for key, each in given.items() if isinstance(each, Tensor)}
            several = {key: each for key, each in tensors.items() if each.dim()}
            require_one(operator.__name__, "device", **several)
        return operator(*args, **kwargs)

    return run


def _require_kind(name: str, key: str, value: object, kinds: list[tuple[type, str]]) -> None:
    # A tensor of one number, or an array, is taken for the number.
    accepted = tuple(kind for kind, _ in kinds)
    number = Real in accepted or Integral in accepted
    fits = isinstance(value, accepted) or (number and getattr(value, "shape", None) == ())
    given = type(value).__name__ if isinstance(value, Tensor) else reprlib.repr(value)
    require(fits, name, key, given, " or ".join(words for _, words in kinds))


def require_one(operator: str, what: str, **tensors: Tensor) -> None:
    """Check that tensors have one ``device``, or one ``dtype``.

    Raises:
        ArgumentError: They differ.
    """
    having = {name: getattr(tensor, what) for name, tensor in tensors.items()}
    given = ", ".join(f"{value} of {name}" for name, value in having.items())
    require(len({*having.values()}) <= 1, operator, f"the {what}", given, "one for all of them")


def full_precision(operator: Callable[P, Result]) -> Callable[P, Result]:
    """Run an operator without autocast, and in float32 where it is given half.

    Its results have the dtype of its first floating-point tensor.
    MMCV's compiled operators see no autocast either: a float32 matmul within one stays float32.
    """

    @wraps(operator)
    def run(*args: P.args, **kwargs: P.kwargs) -> Result:
        everything = (*args, *kwargs.values())
        # Arguments by name come in any order: a tensor of indices or labels may be the first one.
        first: Any = next((each for each in everything if _is_real(each)), None)
        device = "cpu" if first is None else first.device.type
        known = torch.amp.is_autocast_available(device)  # not of meta tensors
        with torch.autocast(device, enabled=False) if known else contextlib.nullcontext():
            given = [widened(each) for each in args]
            named = {name: widened(each) for name, each in kwargs.items()}
            result = operator(*given, **named)
        return result if first is None else _narrowed(result, first.dtype)

    return run


def _is_real(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _narrowed(result: Any, kind: torch.dtype) -> Any:
    """Return results as ``kind``, but for integers, which are places."""
    if isinstance(result, tuple):
        return tuple(_narrowed(each, kind) for each in result)
    return result.to(kind) if result.is_floating_point() else result


def on_host(tensor: Tensor) -> npt.NDArray[Any]:
    """Return a tensor as an array: numpy has no bfloat16, and areas and sums would overflow in float16."""
    array: npt.NDArray[Any] = widened(tensor.detach().cpu()).numpy()
    return array


def widened(value: Any) -> Any:
    """Return a tensor of half precision in float32, and anything else as it is."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


def pair(
    operator: str, argument: str, value: int | tuple[int, int], least: int = 1
) -> tuple[int, int]:
    """Return a size for both axes: y, x.

    Raises:
        ArgumentError: It is not one or two integers of at least ``least``.
    """
    both = value if isinstance(value, tuple | list) else (value, value)
    fits = len(both) == 2 and all(isinstance(each, Integral) and each >= least for each in both)
    require(fits, operator, argument, repr(value), f"an integer, or two, of at least {least}")
    return int(both[0]), int(both[1])
