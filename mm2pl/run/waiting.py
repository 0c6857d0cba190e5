"""What acts only after a validation, and so never in a run that does not validate, or does so too late."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mm2pl.plan.schema import Fault
from mm2pl.plan.unread import reason
from mm2pl.run.clock import first_validation

if TYPE_CHECKING:
    from mm2pl.run.clock import Timetable
    from mm2pl.run.run import Run


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """One kind of hook, callback or schedule that waits for a validation.

    Attributes:
        known_by: The attributes by which it is known; all are set.
        shown: The one that names what it watches.
        at_the_end: Whether a validation after the last batch is enough.
    """

    known_by: tuple[str, ...]
    shown: str
    at_the_end: bool


WAITING = (
    Waiting(known_by=("need_val_args",), shown="monitor", at_the_end=False),  # ReduceOnPlateauLR
    # EarlyStoppingHook, and Lightning's EarlyStopping, whose Trainer validates when MMEngine's clock says so.
    Waiting(known_by=("monitor", "patience"), shown="monitor", at_the_end=False),
    Waiting(known_by=("save_best",), shown="save_best", at_the_end=True),  # CheckpointHook
)
"""The first kind that fits holds."""


def parts_of(run: Run) -> list[Any]:
    """Return the hooks, callbacks and schedules of a run."""
    schedules = run.param_schedulers or []
    groups = schedules.values() if isinstance(schedules, dict) else [schedules]
    callbacks = getattr(run.trainer, "callbacks", ())
    parts = [*run.hooks, *callbacks, *(schedule for group in groups for schedule in group)]
    # A hook given to the Trainer is among both.
    return list({id(part): part for part in parts}.values())


def watched(parts: Iterable[object]) -> Iterator[tuple[Waiting, str, Any]]:
    """Yield what waits for a validation: its kind, the name of its argument, and what it watches there."""
    for part in parts:
        kind = next((kind for kind in WAITING if _is(part, kind)), None)
        if kind is not None:
            yield kind, f"{type(part).__name__}.{kind.shown}", getattr(part, kind.shown, None)


def never_acting(parts: Iterable[object], *, at_the_end: bool) -> list[tuple[str, Any]]:
    """Return the arguments, and their values, of the parts that wait in vain.

    Args:
        parts: Hooks, callbacks and schedules.
        at_the_end: Whether there is a validation after the last batch; there is none before.
    """
    return [
        (name, value)
        for kind, name, value in watched(parts)
        if not (kind.at_the_end and at_the_end)
    ]


def _is(part: object, kind: Waiting) -> bool:
    values = (getattr(part, name, None) for name in kind.known_by)
    return all(value is not None and value is not False for value in values)


def missing_validation(times: Timetable, limit: object = None) -> tuple[str, bool] | None:
    """Return what is wrong with a run's validations and what to do, and whether there is one at the end.

    None if there is one before the end.

    Args:
        times: When the run validates and ends.
        limit: ``Trainer(limit_val_batches=…)``.

    >>> from mm2pl.run.clock import Timetable
    >>> missing_validation(Timetable(by_epoch=True, end=5, val_begin=6))
    ('val_begin=6 of 5 epochs → a smaller val_begin in train_cfg', False)
    >>> missing_validation(Timetable(by_epoch=False, end=50, intervals=(1000,)))
    ('the first validation comes after the last of 50 iterations → a smaller val_interval in train_cfg', True)
    """
    length = f"{times.end} {'epochs' if times.by_epoch else 'iterations'}"
    if not times.validates:
        return "nothing validates → add val_dataloader, val_cfg and val_evaluator", False
    if limit == 0:
        return "limit_val_batches=0 → at least 1", False
    first = first_validation(times)
    if first is None:
        return f"val_begin={times.val_begin} of {length} → a smaller val_begin in train_cfg", False
    if first < times.end:
        return None
    late = f"the first validation comes after the last of {length}"
    return f"{late} → a smaller val_interval in train_cfg", True


def faults_of_waiting(run: Run) -> Iterator[Fault]:
    """Yield what will never act in a run because it waits for a validation."""
    trainer: Any = run.trainer
    times, limit = run.train_loop.times, getattr(trainer, "limit_val_batches", None)
    # Validating at Lightning's interval rather than MMEngine's: the user has set it in the Trainer.
    interval = getattr(trainer, "check_val_every_n_epoch", None) or 0
    by_lightning = interval <= run.train_loop.max_epochs
    if run.runner.is_trial or (times.validates and limit != 0 and by_lightning):
        return
    missing = missing_validation(times, limit)
    if missing is None:
        return
    why, at_the_end = missing
    for path, value in never_acting(parts_of(run), at_the_end=at_the_end):
        what, _, cure = why.partition(" → ")
        yield Fault(
            path=path,
            given=repr(value),
            advice=reason(
                f"this will never act: {what}", f"{cure}, or leave out what waits for it"
            ),
            severity="warning",
        )
