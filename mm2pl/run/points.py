"""MMEngine's 22 hook points, and which of them a hook really uses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

STAGES = (
    "before_run",
    "after_load_checkpoint",
    "before_train",
    "before_train_epoch",
    "before_train_iter",
    "after_train_iter",
    "after_train_epoch",
    "before_val",
    "before_val_epoch",
    "before_val_iter",
    "after_val_iter",
    "after_val_epoch",
    "after_val",
    "before_save_checkpoint",
    "after_train",
    "before_test",
    "before_test_epoch",
    "before_test_iter",
    "after_test_iter",
    "after_test_epoch",
    "after_test",
    "after_run",
)
"""Every point, in the order of ``mmengine.hooks.Hook.stages``."""

OF_ITERATIONS = {point for point in STAGES if point.endswith("_iter")}
"""The points that are called for each batch."""

GENERIC = {
    f"{when}_{mode}_{what}": f"_{when}_{what}"
    for when in ("before", "after")
    for mode in ("train", "val", "test")
    for what in ("epoch", "iter")
}
"""The method a point falls back on: overriding ``_before_iter`` is to override three points."""


def overridden_stages(hook: object) -> list[str]:
    """List the points ``hook`` does something at, in the order of :data:`STAGES`.

    Overriding a generic (``_after_epoch``) counts for the three points behind it. Hooks of a real
    MMEngine and objects that only look like a hook are understood too.
    """
    return [point for point in STAGES if _acts_at(hook, point)]


def _acts_at(hook: object, point: str) -> bool:
    return _defines(hook, point) or (point in GENERIC and _defines(hook, GENERIC[point]))


def _defines(hook: object, name: str) -> bool:
    if name in getattr(hook, "__dict__", ()):
        return True
    for cls in type(hook).__mro__:
        # The base class, ours or MMEngine's, is the one that lists the points: its methods do nothing.
        if {"stages", "priority"} <= vars(cls).keys():
            return False
        if name in vars(cls):
            return True
    return False


def methods_by_point(hooks: Sequence[Any]) -> dict[str, list[Callable[..., None]]]:
    """Return :func:`methods_at` of every point at which one of ``hooks`` does something."""
    found = {point: methods_at(hooks, point) for point in STAGES}
    return {point: methods for point, methods in found.items() if methods}


def methods_at(hooks: Iterable[Any], point: str) -> list[Callable[..., None]]:
    """Return the methods to call at ``point``, in the order of ``hooks``, without those that do nothing.

    A point that is none of :data:`STAGES` is one that a user has invented.
    """
    return [
        getattr(hook, point)
        for hook in hooks
        if callable(getattr(hook, point, None)) and (point not in STAGES or _acts_at(hook, point))
    ]


def misfit_of(method: Callable[..., None], runner: Any, arguments: Mapping[str, Any]) -> str | None:
    """Say why a point of a hook cannot take what it is called with; ``None`` if it can.

    >>> class Short:
    ...     def after_train_iter(self, runner): ...
    >>> misfit_of(Short().after_train_iter, "a runner", {"batch_idx": 0, "outputs": None})
    'Short.after_train_iter(runner) → is called with (runner, batch_idx, outputs): it must take these, or **kwargs'
    """
    signature = inspect.signature(method)
    try:
        signature.bind(runner, **arguments)
    except TypeError:
        name = getattr(method, "__qualname__", repr(method))
        given = ", ".join(("runner", *arguments))
        return f"{name}{signature} → is called with ({given}): it must take these, or **kwargs"
    return None
