"""What two sides have in common, compared: samples of any kind, and the numbers of a training."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

_CLOSE = 1e-6
_CLOSE_GRADIENT = 1e-4  # of the largest one: a GPU adds them up in any order

_VALUES = (type, str, bytes, int, float, complex, set, frozenset)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One thing that was compared.

    Args:
        what: What it is.
        old: What the old side has.
        new: What the new side has.
        difference: Where they differ; empty if they do not.
    """

    what: str
    old: str
    new: str
    difference: str = ""

    def __str__(self) -> str:
        verdict = f"DIFFERS: {self.difference}" if self.difference else "equal"
        return f"  {self.what}: {self.old} | {self.new}  {verdict}"


@dataclass
class Record:
    """What a side did.

    Attributes:
        rates: The learning rate of each parameter, in each iteration.
        losses: The numbers that were logged in each iteration, by name.
        gradients: Of each parameter at each step, clipped.
        settings: Of the optimizer for each parameter at each step, such as its momentum.
        device: Where the model was.
    """

    rates: list[dict[str, float]] = field(default_factory=list)
    losses: list[dict[str, float]] = field(default_factory=list)
    gradients: list[dict[str, torch.Tensor]] = field(default_factory=list)
    settings: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def watch(self, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Record each step of the optimizers; a learning rate may be so small that losses do not show it."""
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(lambda each, *_: self._step(model, each))

    def _step(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        groups = list(_groups(model, optimizer))
        self.gradients.append(
            {n: p.grad.detach().cpu().clone() for n, p, _ in groups if p.grad is not None}
        )
        left_out = ("params", "param_names", "lr", "initial_lr", "initial_momentum")
        self.settings.append(
            {n: {k: v for k, v in group.items() if k not in left_out} for n, _, group in groups}
        )

    def begin(self, model: torch.nn.Module, optimizers: Sequence[torch.optim.Optimizer]) -> None:
        """Record the learning rates of an iteration, and the device."""
        self.device = next((p.device for p in model.parameters()), self.device)
        self.rates.append(
            {
                name: group["lr"]
                for each in optimizers
                for name, p, group in _groups(model, each)
                if p.requires_grad
            }
        )

    def end(self, logged: Mapping[str, Any]) -> None:
        """Record the numbers of an iteration; the losses are summed if the model has not."""
        numbers = {k: float(v) for k, v in logged.items() if _is_number(v)}
        losses = [value for name, value in numbers.items() if "loss" in name]
        if losses and "loss" not in numbers:
            numbers["loss"] = sum(losses)
        self.losses.append(numbers)


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor | np.ndarray):
        return math.prod(value.shape) == 1
    return isinstance(value, int | float | np.number)


def _groups(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Iterator[tuple[str, torch.nn.Parameter, dict[str, Any]]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for index, group in enumerate(optimizer.param_groups):
        for place, parameter in enumerate(group["params"]):
            yield names.get(id(parameter), f"group {index}, {place}"), parameter, group


def compared(old: Record, new: Record) -> Iterator[Row]:
    """Yield a row for each kind of what two sides recorded."""
    yield _of_numbers("learning rates", old.rates, new.rates, _range)
    shared = _shared(old.losses, new.losses)
    row = _of_numbers("losses", *shared, lambda each: _number(each.get("loss", math.nan)))
    if not all(map(len, shared[0])):
        names = [sorted({n for each in side for n in each}) for side in (old.losses, new.losses)]
        row = Row(what="losses", old=f"{names[0]}", new=f"{names[1]}", difference="no common name")
    yield row
    yield _of_numbers("gradients", old.gradients, new.gradients, _norm, _CLOSE_GRADIENT)
    yield _of_samples("optimizer", old.settings, new.settings, "{} steps")


def _shared(
    old: Sequence[Mapping[str, float]], new: Sequence[Mapping[str, float]]
) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    """Return the numbers that both sides log: a metric of one generation alone is not a difference."""
    names = set.intersection(*(set(each) for each in (*old, *new))) if old and new else set()
    pick = [[{n: each[n] for n in each if n in names} for each in side] for side in (old, new)]
    return pick[0], pick[1]


def _of_numbers(
    what: str,
    old: Sequence[Mapping[str, Any]],
    new: Sequence[Mapping[str, Any]],
    shown: Callable[[Mapping[str, Any]], str],
    close: float = _CLOSE,
) -> Row:
    found = [
        (apart(a[name], b[name]), name)
        for a, b in zip(old, new, strict=False)
        for name in a
        if name in b
    ]
    worst, name = max(found, default=(0.0, ""))
    difference = f"relative difference {worst:.1e} at {name}" if worst > close else ""
    for a, b in zip(old, new, strict=False):
        if alone := sorted(a.keys() ^ b.keys()):
            difference = f"{alone[0]} is only in the {'old' if alone[0] in a else 'new'}"
    if len(old) != len(new):
        difference = f"{len(old)} and {len(new)} of them"
    sides = [", ".join(map(shown, side)) or "none" for side in (old, new)]
    return Row(what=what, old=sides[0], new=sides[1], difference=difference)


def apart(old: Any, new: Any) -> float:
    """Return the largest difference of two numbers or tensors, relative to the largest old value.

    >>> apart(2.0, 1.0), apart(float("nan"), float("nan")), apart(1.0, float("nan")), apart(float("inf"), 1.0)
    (0.5, 0.0, inf, inf)
    """
    a, b = (torch.as_tensor(v, dtype=torch.float64).cpu() for v in (old, new))
    if a.shape != b.shape:
        return math.inf
    differs = (a != b) & ~(a.isnan() & b.isnan())
    if not differs.any():
        return 0.0
    if not (a[differs].isfinite().all() and b[differs].isfinite().all()):
        return math.inf
    largest = max(a[a.isfinite()].abs().max().item(), 1e-12)
    return (a[differs] - b[differs]).abs().max().item() / largest


def _number(value: float) -> str:
    return f"{value:.6g}"


def _range(rates: Mapping[str, float]) -> str:
    ends = dict.fromkeys(map(_number, (min(rates.values()), max(rates.values())))) if rates else {}
    return " to ".join(ends)


def _norm(gradients: Mapping[str, torch.Tensor]) -> str:
    return _number(math.hypot(*(g.double().norm().item() for g in gradients.values())))


def of_samples(old: list[Any], new: list[Any]) -> Row:
    """Return the row of the samples."""
    return _of_samples("samples", old, new, "the first {}")


def _of_samples(what: str, old: list[Any], new: list[Any], shown: str) -> Row:
    found = list(differences(old, new))
    difference = "; ".join(found[:3]) + (f"; and {len(found) - 3} more" if len(found) > 3 else "")
    sides = [shown.format(len(side)) for side in (old, new)]
    return Row(what=what, old=sides[0], new=sides[1], difference=difference)


def differences(
    old: Any, new: Any, path: str = "", seen: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[str]:
    """Yield where two samples differ; objects are compared by their attributes."""
    old, new = (v.data if hasattr(v, "cpu_only") else v for v in (old, new))
    # An object may hold itself.
    if old is new or (id(old), id(new)) in seen:
        return
    seen |= {(id(old), id(new))}
    place = path.lstrip(".") or "the whole"
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in (*old, *(key for key in new if key not in old)):
            if key not in old or key not in new:
                yield f"{path.lstrip('.')} {key!r} is only in the {'old' if key in old else 'new'}".strip()
            else:
                yield from differences(old[key], new[key], f"{path}.{key}", seen)
    elif isinstance(old, list | tuple) and isinstance(new, list | tuple):
        if len(old) != len(new):
            yield f"{place}: {len(old)} and {len(new)} items"
        for index, (a, b) in enumerate(zip(old, new, strict=False)):
            yield from differences(a, b, f"{path}[{index}]", seen)
    elif _is_array(old) and _is_array(new):
        yield from _of_arrays(old, new, path, place, seen)
    elif type(old) is not type(new):
        yield f"{place}: {old!r} and {new!r}"
    elif hasattr(old, "__dict__") and not isinstance(old, _VALUES):
        yield from differences(vars(old), vars(new), path, seen)
    # Objects of a project may compare by identity. NaN differs from itself.
    elif type(old).__eq__ is not object.__eq__ and old != new and (old == old or new == new):
        yield f"{place}: {old!r} and {new!r}"


def _is_array(value: Any) -> bool:
    # Images of PIL have `__array_interface__`; scalars of NumPy are arrays without dimensions.
    return isinstance(value, torch.Tensor | np.ndarray) or hasattr(value, "__array_interface__")


def _of_arrays(
    old: Any, new: Any, path: str, place: str, seen: frozenset[tuple[int, int]]
) -> Iterator[str]:
    arrays = [v if isinstance(v, torch.Tensor) else np.array(v, order="C") for v in (old, new)]
    if any(isinstance(v, np.ndarray) and v.dtype.kind not in "biufc" for v in arrays):
        # Texts and objects; `tolist` gives them back as they are.
        yield from differences(arrays[0].tolist(), arrays[1].tolist(), path, seen)
        return
    a, b = (torch.as_tensor(v).detach().cpu() for v in arrays)
    if a.shape != b.shape:
        yield f"{place}: shapes {tuple(a.shape)} and {tuple(b.shape)}"
        return
    if a.dtype != b.dtype:
        yield f"{place}: {a.dtype} and {b.dtype}"
        return
    differs = (a != b) & ~((a != a) & (b != b))
    if differs.any():
        wide = torch.complex128 if a.is_complex() else torch.float64
        most = (a[differs].to(wide) - b[differs].to(wide)).abs().max()
        yield f"{place}: up to {most:.3g}"
