"""Which state of a file belongs to which schedule of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

State = Mapping[str, Any]

#: Where a schedule stands, as opposed to what it was built with.
_PROGRESS = frozenset(
    [
        "last_step",
        "_global_step",
        "_last_value",
        "base_values",
        "best",
        "cooldown_counter",
        "num_bad_epochs",
    ]
)
#: What says nothing of a kind: MMEngine's OneCycle stores a function, and its early releases had no `eta_min_ratio`.
_NO_KIND = _PROGRESS | {"anneal_func", "eta_min_ratio", "use_betas", "verbose"}


def arguments(state: State) -> dict[str, Any]:
    """Return what a schedule was built with, derived values included.

    >>> arguments({"gamma": 0.1, "end": 3, "last_step": 1, "_global_step": 1})
    {'gamma': 0.1, 'end': 3}
    """
    return {key: value for key, value in state.items() if key not in _PROGRESS}


def matches(
    current: Sequence[State],
    states: Sequence[State],
    classes: tuple[Sequence[str], Sequence[str]] | None = None,
) -> list[int | None]:
    """Return for each schedule the index of its state in the file, or ``None``.

    Schedules of one kind have the same clock, entry and attributes, and the same class where both are known. Among
    several of a kind those with the most equal arguments belong together, and of these the nearest.

    Args:
        current: States of the run's schedules, before any is loaded.
        states: Those of the file.
        classes: The class names of both, if the file tells them.

    Example:
        >>> warmup = {"by_epoch": False, "param_name": "lr", "start_factor": 0.1}
        >>> steps = {"by_epoch": True, "param_name": "lr", "milestones": {3: 1}}
        >>> matches([steps], [warmup, {**steps, "milestones": {5: 1}}])
        [1]
    """
    pairs = [
        (-_equal_arguments(own, state), abs(i - j), i, j)
        for i, own in enumerate(current)
        for j, state in enumerate(states)
        if _kind(own) == _kind(state) and (classes is None or _akin(classes[0][i], classes[1][j]))
    ]
    found: dict[int, int] = {}
    for *_, i, j in sorted(pairs):
        if i not in found and j not in found.values():
            found[i] = j
    return [found.get(i) for i in range(len(current))]


def _kind(state: State) -> tuple[bool, Any, frozenset[str]]:
    names = frozenset(state) - _NO_KIND
    return bool(state.get("by_epoch", True)), state.get("param_name"), names


def _akin(one: str, other: str) -> bool:
    # `StepLR` and `StepParamScheduler(param_name='lr')` are one policy; the entry is compared anyway.
    return _policy(one) == _policy(other)


def _policy(name: str) -> str:
    for suffix in ("ParamScheduler", "Momentum", "LR"):
        name = name.removesuffix(suffix)
    return name


def _equal_arguments(own: State, state: State) -> int:
    own, state = arguments(own), arguments(state)
    return sum(key in state and bool(state[key] == value) for key, value in own.items())
