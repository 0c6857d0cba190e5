"""What every parameter scheduler is: two counters, the values at the start, and a `_get_value`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from mm2pl.errors import ArgumentError, ReadableKeyError
from mm2pl.logging import print_log
from mm2pl.optim.abilities import holds_several

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mm2pl.optim.optimizer.base import OptimizerType

INF = int(1e9)
"""The `end` of a scheduler that never ends; MMEngine's number, in steps of the scheduler's clock."""


class _ParamScheduler:
    """Schedule one entry of an optimizer's param groups; stands for MMEngine's class of that name.

    A scheduler is *chainable*: it changes the value that it finds. It is applied once when it is
    built and once per :meth:`step`, while ``begin <= number of steps < end``. Subclasses define
    `_get_value`, which returns the new value of each group and may read:

    - ``last_step``: how often the schedule was applied before, 0 at ``begin``;
    - ``optimizer.param_groups[i][param_name]``: the values now;
    - ``base_values``: those from before any scheduler.

    Args:
        optimizer: What has the param groups. Gets an entry ``initial_<param_name>`` per group.
        param_name: The entry, such as ``'lr'``.
        begin: First step that the schedule is applied at; in epochs if ``by_epoch``, else in iterations.
        end: First step that it is no longer applied at; a run that a config drives gives its own end.
        last_step: To resume without a state dict; the groups must have ``initial_<param_name>``.
        by_epoch: Whether :meth:`step` will be called once per epoch (else once per iteration).
        verbose: Whether to log each new value.

    Raises:
        TypeError: ``optimizer`` has no param groups.
        ValueError: ``end <= begin``.
        KeyError: ``last_step`` is given, and a group has no ``initial_<param_name>``.
    """

    _first_step: _FirstStep | None = None

    def __init__(
        self,
        optimizer: OptimizerType,
        param_name: str,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        self._attach(optimizer, param_name, begin, end, last_step, by_epoch, verbose)
        self.base_values = [group[f"initial_{param_name}"] for group in optimizer.param_groups]
        # The constructor is the first tick, as in torch: the first iteration trains with a scheduled value.
        self._global_step = -1
        self._first_step = _FirstStep.of(optimizer)
        self.step()

    def _attach(
        self,
        optimizer: OptimizerType,
        param_name: str,
        begin: int,
        end: int,
        last_step: int,
        by_epoch: bool,
        verbose: bool,
    ) -> None:
        """Check and store what all schedulers share, and note the initial values."""
        check_optimizer(optimizer)
        # MMEngine's condition: `end` itself is excluded.
        if end <= begin:
            raise ArgumentError(
                f"begin={begin!r}, end={end!r} → end should be larger than begin. A scheduler without "
                "`end` lasts as long as the run."
            )
        if not isinstance(last_step, int) or last_step < -1:
            raise ArgumentError(f"last_step={last_step!r} must be an int, -1 or larger.")
        self.optimizer = optimizer
        self.param_name = param_name
        self.begin = begin
        self.end = end
        self.by_epoch = by_epoch
        initial = f"initial_{param_name}"
        for index, group in enumerate(optimizer.param_groups):
            if last_step == -1:
                # The first scheduler of an entry notes its value; the later ones in the list share that base.
                group.setdefault(initial, group[param_name])
            elif initial not in group:
                raise ReadableKeyError(
                    f"param {initial!r} is not specified in param_groups[{index}], but last_step={last_step} "
                    "needs it → load the optimizer's state first, or leave last_step out."
                )
        self.last_step = last_step
        self.verbose = verbose

    def stop_watching(self) -> None:
        """Do not warn of a tick before the optimizer's first step, which a Trainer's accumulation makes."""
        if self._first_step is not None:
            self._first_step.forget()
            self._first_step = None

    def state_dict(self) -> dict[str, Any]:
        """Return all attributes but the optimizer, as plain data that `weights_only` loads.

        MMEngine's keys, so that either side resumes from the other's checkpoint.
        """
        return {name: _plain(value) for name, value in vars(self).items() if name not in _NOT_STATE}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over all attributes, the schedule's arguments included, as MMEngine does.

        So ``end`` or ``milestones`` of the saved run win over those of this one.
        """
        vars(self).update({k: v for k, v in state_dict.items() if k not in _NOT_STATE})
        # The warning belongs to the second tick, which a resumed scheduler has behind it.
        if self._global_step > 0:
            self.stop_watching()

    def __getstate__(self) -> dict[str, Any]:
        # A copied optimizer has no hooks, so that a copy could not see it step.
        return {**vars(self), "_first_step": None}

    def get_last_value(self) -> list[float]:
        """Return the value of each group right after the last :meth:`step`."""
        return self._last_value

    def _get_value(self) -> list[float]:
        raise NotImplementedError(f"{type(self).__name__} must define `_get_value`")

    def print_value(self, is_verbose: bool, group: int, value: float) -> None:
        """Log the new value of the group with that index."""
        if is_verbose:
            print_log(
                f"Adjusting parameter value of group {group} to {value:.4e}.", logger="current"
            )

    def step(self) -> None:
        """Count a tick of the clock; inside ``[begin, end)`` also apply the schedule."""
        self._step_from(None)

    def _step_from(self, values: list[Any] | None) -> list[Any]:
        """Make a step, and return what the groups have then.

        Args:
            values: What they have now, if the schedule before has just returned it; else it is read: with hundreds
                of groups reading and writing them is what takes time.
        """
        if self._global_step == 0 and self._first_step is not None:
            self._first_step.check(self.optimizer)
            self._first_step = None
        self._global_step += 1
        if values is None:
            values = list(map(itemgetter(self.param_name), self.optimizer.param_groups))
        if self.begin <= self._global_step < self.end:
            self.last_step += 1
            values = self._update(values)
            if self.verbose:
                for index, value in enumerate(values):
                    self.print_value(True, index, value)
        # Also of a step that does nothing: MMEngine's get_last_value never goes stale.
        self._last_value = values
        return values

    def _update(self, values: list[Any]) -> list[Any]:
        """Write the new values into the groups, and return what the groups then have."""
        groups, name = self.optimizer.param_groups, self.param_name
        for group, value in zip(groups, self._get_value(), strict=False):
            group[name] = value
        # Groups for which `_get_value` returned nothing keep theirs.
        return [group[name] for group in groups]


# Left out when loading as well: a bound method would bring the whole scheduler of another run.
_NOT_STATE = {"optimizer", "_first_step", "anneal_func"}
"""Attributes that are not state; `anneal_func` is a function in MMEngine's OneCycle states."""


def per_group(name: str, value: float | Sequence[float], count: int) -> list[float]:
    """Return one value for each of ``count`` groups, from one number or a sequence of as many.

    Raises:
        ValueError: The sequence has another length.
    """
    if not isinstance(value, list | tuple):
        return [value] * count  # type: ignore[list-item]
    if len(value) != count:
        raise ArgumentError(f"{name}={value!r}: expected {count} values, one per group.")
    return list(value)


def check_optimizer(optimizer: Any) -> None:
    """Raise TypeError unless ``optimizer`` has one list of param groups."""
    if isinstance(getattr(optimizer, "param_groups", None), list):
        return
    several = holds_several(optimizer)
    hint = " Schedule each of its wrappers." if several else ""
    raise ArgumentError(
        f"optimizer={type(optimizer).__name__} → it should be an Optimizer of torch, or an OptimWrapper.{hint}"
    )


def _plain(value: object) -> Any:
    if isinstance(value, Counter):
        # A plain dict answers `in` and `[]` alike, and loading it needs no class.
        return dict(value)
    return value.item() if isinstance(value, np.generic) else value


class _FirstStep:
    """Watch for the first step of an optimizer, to warn of a scheduler that ticks before it.

    MMEngine replaces ``optimizer.step`` for the whole run instead.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        self._seen = False
        # MMEngine 0.10.7 replaces the bound method instead: a deepcopy
        # of its wrapper steps the original, and pickle refuses it.
        self._handle = optimizer.register_step_post_hook(self._note)

    @classmethod
    def of(cls, optimizer: Any) -> _FirstStep | None:
        """Watch the torch optimizer in ``optimizer``, if there is one."""
        # The inner optimizer: an engine may step it without the wrapper.
        raw = getattr(optimizer, "optimizer", optimizer)
        return cls(raw) if hasattr(raw, "register_step_post_hook") else None

    def _note(self, *_: Any) -> None:
        self._seen = True

    def forget(self) -> None:
        """Stop watching."""
        self._handle.remove()

    def check(self, optimizer: Any) -> None:
        """Stop watching; warn if nothing has been seen (an open accumulation window is fine)."""
        self.forget()
        if not self._seen and getattr(optimizer, "inner_count", 0) <= 0:
            warnings.warn(
                "scheduler.step() was called before optimizer.step() → the first value of the "
                "schedule is skipped. Call optimizer.step() first, see "
                "https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate.",
                stacklevel=5,
            )
