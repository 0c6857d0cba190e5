"""Where schedules stand after so much of a run: found by ticking, since a chained value has no closed form."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mm2pl.optim.scheduler.policy import is_pure
from mm2pl.optim.scheduler.tick import tick

Group = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a run is.

    Attributes:
        epochs: Finished epochs, as the schedules count them: 0 in a run by iterations.
        iters: Finished iterations.
        epoch_length: Iterations per epoch, for the order of the two clocks' ticks.
    """

    epochs: int
    iters: int
    epoch_length: int = 0

    def of(self, by_epoch: bool) -> int:
        """Return how often a clock has ticked."""
        return self.epochs if by_epoch else self.iters


def is_metric_driven(scheduler: Any) -> bool:
    """Return whether a schedule waits for metrics, so that no clock tells where it stands."""
    return bool(getattr(scheduler, "need_val_args", False))


def replan(
    schedulers: Sequence[Any],
    progress: Progress,
    initial: Sequence[Mapping[str, Any]] | None = None,
    states: Sequence[Mapping[str, Any] | None] = (),
) -> None:
    """Let freshly built schedules, and the groups, stand where this plan would be after ``progress``.

    The values are those of a run that had this plan from its start. What a metric has decided cannot be repeated: such
    a schedule takes its state of the file, all but ``end``, and what it has made of the values stays as a factor.

    Args:
        schedulers: All of one optimizer, as they were built for the current plan.
        progress: Of the run.
        initial: By group the entries from before any schedule, such as ``initial_lr``, in place of those that the
            groups have: theirs come from the file, once it has been loaded.
        states: By schedule its state in the file, or ``None``.
    """
    _without_warning(schedulers)
    waiting = [each for each in schedulers if is_metric_driven(each)]
    found = {each.param_name: _values(each) for each in waiting}
    before = _values_of_file(schedulers, progress, states) if waiting else {}
    for group, values in zip(_groups(schedulers), initial or (), strict=False):
        group.update(values)
    _begin_again(schedulers)
    replay([each for each in schedulers if not is_metric_driven(each)], progress)
    for scheduler, state in zip(schedulers, [*states, *[None] * len(schedulers)], strict=False):
        if is_metric_driven(scheduler):
            end = scheduler.end
            scheduler.load_state_dict({**state, "end": end} if state else {})
            scheduler._global_step = progress.epochs
    for name, reduced in found.items():
        for group, value, old in zip(_groups(schedulers), reduced, before[name], strict=True):
            # Not by a factor of 1, which rounds.
            group[name] = value if group[name] == old else value * (group[name] / old)


def _values_of_file(
    schedulers: Sequence[Any], progress: Progress, states: Sequence[Mapping[str, Any] | None]
) -> dict[str, list[float]]:
    """Return to what the plan of the file alone has led, by name of the entry."""
    own = [dict(vars(each)) for each in schedulers]
    for each, state in zip(schedulers, states, strict=False):
        each.load_state_dict(state or {})
    _begin_again(schedulers)
    replay([each for each in schedulers if not is_metric_driven(each)], progress)
    values = {each.param_name: _values(each) for each in schedulers}
    for each, attributes in zip(schedulers, own, strict=True):
        vars(each).update(attributes)
    return values


def start_at(scheduler: Any, progress: Progress) -> None:
    """Let a schedule that is new in a run go on from the values that are there, with the run's count of ticks."""
    _without_warning([scheduler])
    scheduler._global_step = progress.of(scheduler.by_epoch)
    if not is_metric_driven(scheduler):  # whose `last_step` counts validations
        last = min(scheduler._global_step, scheduler.end - 1) - scheduler.begin
        scheduler.last_step = max(last, -1)


def _groups(schedulers: Iterable[Any]) -> list[Group]:
    return next((list(each.optimizer.param_groups) for each in schedulers), [])


def _values(scheduler: Any) -> list[float]:
    return [group[scheduler.param_name] for group in scheduler.optimizer.param_groups]


def _begin_again(schedulers: Sequence[Any]) -> None:
    """Put schedules and groups back to where the first tick, that of the constructor, has just been made."""
    planned = [each for each in schedulers if not is_metric_driven(each)]
    for each in schedulers:
        for group in each.optimizer.param_groups:
            group[each.param_name] = group[f"initial_{each.param_name}"]
    for each in planned:
        each.base_values = _values(each)
        each.last_step = each._global_step = -1
    for each in planned:
        each.step()


def _without_warning(schedulers: Iterable[Any]) -> None:
    # These ticks are of a run whose optimizer has stepped; ours watch for its first step.
    for each in schedulers:
        if hasattr(each, "stop_watching"):
            each.stop_watching()


def replay(schedulers: Sequence[Any], progress: Progress) -> None:
    """Tick schedules that have just been built as a run does: the iterations of an epoch, then the epoch.

    A million iterations of a policy take a few seconds; spans in which nobody acts take no time.
    """
    _without_warning(schedulers)
    by_iter = [each for each in schedulers if not each.by_epoch]
    # A file may have been written with another data set, so that its epochs were shorter.
    length = min(progress.epoch_length, progress.iters // max(progress.epochs, 1))
    for _ in range(progress.epochs):
        _tick_iterations(by_iter, length)
        tick(schedulers, by_epoch=True)
    _tick_iterations(by_iter, progress.iters - length * progress.epochs)


def _tick_iterations(schedulers: Sequence[Any], count: int) -> None:
    while schedulers and count > 0:
        # The last tick of a span is a real one: it sets what a schedule remembers of its values.
        span = min(count, *(_steady(each) for each in schedulers))
        if span > 1:
            _advance(schedulers, span - 1)
        tick(schedulers, by_epoch=False)
        count -= max(span, 1)


def _steady(scheduler: Any) -> int:
    """Return for how many ticks a schedule does the same: nothing, or to apply a policy."""
    # A class of the user's or of the real MMEngine's may do anything in a step.
    if not is_pure(scheduler):
        return 1
    now = scheduler._global_step + 1
    if now < scheduler.begin:
        return scheduler.begin - now
    return scheduler.end - now if now < scheduler.end else sys.maxsize


def _advance(schedulers: Sequence[Any], count: int) -> None:
    """Make ticks in which each schedule acts always or never, on plain lists in place of the groups."""
    acting = [each for each in schedulers if each.begin <= each._global_step + 1 < each.end]
    # What one that is not chained sets, its next tick sets again.
    chained = [each for each in acting if each.chained]
    groups = _groups(schedulers)
    names = list(dict.fromkeys(each.param_name for each in chained))
    rows = [
        (*(group[name] for name in names), *(each.base_values[index] for each in chained))
        for index, group in enumerate(groups)
    ]
    # Hundreds of groups share a few rates, and a policy treats equal ones alike.
    place = {row: index for index, row in enumerate(dict.fromkeys(rows))}
    columns = [list(column) for column in zip(*place, strict=True)]
    values = dict(zip(names, columns, strict=False))
    steps: list[tuple[str, Callable[..., list[float]], list[float], int]] = [
        (each.param_name, partial(type(each)._transition, **each.settings), bases, each.last_step)
        for each, bases in zip(chained, columns[len(names) :], strict=True)
    ]
    for done in range(1, count + 1) if steps else ():
        for name, transition, bases, last in steps:
            values[name] = transition(last + done, values[name], bases)
    for group, row in zip(groups, rows, strict=True):
        group.update({name: values[name][place[row]] for name in names})
    for each in schedulers:
        each._global_step += count
        each.last_step += count * (each in acting)
