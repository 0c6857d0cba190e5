"""What follows a batch: a validation, the end of the epoch, the end of the run. Pure functions of where the run is."""

from __future__ import annotations

import bisect
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class Event(Enum):
    """What can follow a batch.

    Attributes:
        CLOSE_EPOCH: ``after_train_epoch`` is called; by epochs, one more of them is then finished.
        VALIDATE: The validation loop runs.
        STOP: No batch follows; ``after_train`` is called.
    """

    CLOSE_EPOCH = "close the epoch"
    VALIDATE = "validate"
    STOP = "stop"


class Position(NamedTuple):
    """Where a run is, in finished epochs and iterations.

    Attributes:
        epoch: Epochs closed so far; a run by iterations leaves it at 0.
        iter: Iterations of the run so far.
        batch: Iterations of the open epoch so far; 0 between two epochs.
    """

    epoch: int = 0
    iter: int = 0
    batch: int = 0


@dataclass(frozen=True, kw_only=True)
class Timetable:
    """When a run validates and when it ends; stands for what ``train_cfg`` says.

    Everything is counted in epochs if ``by_epoch``, else in iterations.

    Attributes:
        by_epoch: Whether epochs or iterations are counted.
        end: Length of the whole run: ``max_epochs`` or ``max_iters``.
        epoch_length: Batches of an epoch; a run by iterations is one epoch, and does not look at it.
        val_begin: The first count (from 1) that a validation may follow.
        milestones: Counts from which on another interval holds, the first of them 0. MMEngine does not sort them.
        intervals: The interval that holds from each milestone on.
        validates: Whether there is a validation loop.
    """

    by_epoch: bool
    end: int
    epoch_length: int = 0
    val_begin: int = 1
    milestones: tuple[int, ...] = (0,)
    intervals: tuple[int, ...] = (1,)
    validates: bool = True


def val_interval_at(times: Timetable, count: int) -> int:
    """Return the interval by which is decided whether a validation follows ``count`` epochs or iterations.

    MMEngine 0.10.7 reads the milestones one ahead: ``(280, 1)`` holds for the decision after 279. It assigns
    ``loop.val_interval`` at that decision, between ``after_train_epoch`` (by iterations: ``after_train_iter``) and the
    validation, whether there is a validation loop or not. So a training hook reads the interval of the decision before.
    Before the first decision of a process it reads ``val_interval`` as configured, even when resumed past a milestone.

    >>> times = Timetable(by_epoch=True, end=300, milestones=(0, 280), intervals=(10, 1))
    >>> val_interval_at(times, 278), val_interval_at(times, 279)
    (10, 1)
    """
    return times.intervals[bisect.bisect(times.milestones, count + 1) - 1]


def validates_after(times: Timetable, count: int) -> bool:
    """Return whether a validation follows ``count`` epochs or iterations.

    The end of the run is validated at any interval, but not before ``val_begin``, and not where the run stops
    early.

    >>> times = Timetable(by_epoch=True, end=10, val_begin=4, intervals=(3,))
    >>> [count for count in range(1, 11) if validates_after(times, count)]
    [6, 9, 10]
    """
    if not times.validates or count < times.val_begin:
        return False
    return count == times.end or count % val_interval_at(times, count) == 0


def first_validation(times: Timetable) -> int | None:
    """Return after how many epochs or iterations the first validation comes, or None if there is none.

    >>> first_validation(Timetable(by_epoch=True, end=10, val_begin=4, intervals=(3,)))
    6
    >>> first_validation(Timetable(by_epoch=True, end=10, intervals=(20,)))
    10
    """
    begin = max(times.val_begin, 1)
    if not times.validates or begin > times.end:
        return None
    first = times.end
    # Only a multiple of one of the intervals can be validated: a run may have a million iterations.
    for interval in times.intervals:
        multiples = range(-(-begin // interval) * interval, first, interval)
        first = next((n for n in multiples if validates_after(times, n)), first)
    return first


def after_batch(times: Timetable, here: Position, stop_training: bool) -> tuple[Event, ...]:
    """Return what follows a batch, in order; nothing if that is the next batch.

    Args:
        times: When the run validates and ends.
        here: Where the run is with that batch counted, and its epoch not yet closed.
        stop_training: Whether a hook has asked for the end. The hooks of these very events may ask for it too: where
            no ``STOP`` is among them, ask :func:`ending` when they are through.

    The epoch is closed before the validation if epochs are counted, and after it if iterations are:

    >>> by_epoch = Timetable(by_epoch=True, end=2, epoch_length=5)
    >>> [event.name for event in after_batch(by_epoch, Position(1, 10, 5), False)]
    ['CLOSE_EPOCH', 'VALIDATE', 'STOP']
    >>> by_iter = Timetable(by_epoch=False, end=10, intervals=(4,))
    >>> [event.name for event in after_batch(by_iter, Position(0, 10, 10), False)]
    ['VALIDATE', 'CLOSE_EPOCH', 'STOP']

    By epochs, a request to stop waits for the end of the epoch; by iterations it is followed at once, though a
    validation that is due comes first:

    >>> after_batch(by_epoch, Position(0, 3, 3), True)
    ()
    >>> [event.name for event in after_batch(by_iter, Position(0, 3, 3), True)]
    ['CLOSE_EPOCH', 'STOP']
    """
    if not times.by_epoch:
        validation = (Event.VALIDATE,) if validates_after(times, here.iter) else ()
        return validation + ending(times, here, stop_training)
    if here.batch < times.epoch_length:
        return ()
    closed = Position(here.epoch + 1, here.iter)
    validation = (Event.VALIDATE,) if validates_after(times, closed.epoch) else ()
    return (Event.CLOSE_EPOCH, *validation, *ending(times, closed, stop_training))


def ending(times: Timetable, here: Position, stop_training: bool) -> tuple[Event, ...]:
    """Return what ends the run here, where the next batch would begin; nothing if that one follows.

    To be asked where MMEngine's ``while`` reads its condition: before the first batch, and after the events that follow
    one. A run that counts epochs reads it between two epochs only. One that counts iterations reads it between any two
    batches, and its one epoch is open by then: ``before_train_epoch`` comes before the first look. Our runs can also be
    resumed in the middle of an epoch, where MMEngine has no such look.

    >>> ending(Timetable(by_epoch=True, end=2, epoch_length=5), Position(0, 3, 3), True)
    ()
    >>> times = Timetable(by_epoch=False, end=10)
    >>> ending(times, Position(0, 4, 4), False)
    ()
    >>> [event.name for event in ending(times, Position(0, 4, 4), True)]
    ['CLOSE_EPOCH', 'STOP']
    """
    if not times.by_epoch:
        over = stop_training or here.iter >= times.end
        return (Event.CLOSE_EPOCH, Event.STOP) if over else ()
    between = here.batch == 0
    over = between and (stop_training or here.epoch >= times.end)
    return (Event.STOP,) if over else ()
