"""What a run will be: its iterations, validations, files, time, and the phases of its learning rate."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mm2pl.check.environment import existing, size, work_dir_of
from mm2pl.optim.simulate import trace
from mm2pl.plan.containers import as_dicts, live_objects
from mm2pl.plan.fault import Fault
from mm2pl.run.clock import Timetable, first_validation, validates_after
from mm2pl.run.reach import checkpoint_hook_of, count_of, flag_of, length_in, schedules_of, unit

if TYPE_CHECKING:
    from mm2pl.check.trial import Trial

_PLATEAUS = 6
"""More values than these between two bounds are a curve; both its ends are shown."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """The checkpoints of a run: how many it writes, how many of them lie there at once, and the best ones."""

    written: int
    kept: int
    best: int


def outlook(config: Mapping[str, Any], times: Timetable, trial: Trial) -> list[tuple[str, str]]:
    """Return the rows of the table: what, and how much of it."""
    iters = length_in(times, by_epoch=False)
    rows = [("iterations", _iterations(times, iters, trial.batch_size))]
    validations = count_validations(times)
    if times.validates:
        batches = f" of {trial.val_batches} batches" if trial.val_batches else ""
        first = f", the first after {first_validation(times)} {unit(times.by_epoch)}"
        rows.append(("validations", f"{validations}{batches}{first if validations else ''}"))
    rows.append(("checkpoints", _checkpoints(files_of(config, times), trial)))
    if trial.seconds is not None and iters is not None:
        seconds = iters * trial.seconds
        seconds += validations * (trial.val_batches or 0) * (trial.val_seconds or 0.0)
        each = f"{1000 * trial.seconds:.1f} ms per iteration"
        rows.append(("time", f"about {duration(seconds)} on this machine ({each})"))
    if trial.memory_bytes is not None:
        rows.append(("memory", f"{size(trial.memory_bytes)} at most in the trial"))
    return [*rows, *_learning_rates(config, times, trial)]


def faults_of_room(config: Mapping[str, Any], times: Timetable, trial: Trial) -> Iterator[Fault]:
    """Yield what has no room: the checkpoints on the disk."""
    folder, hook = work_dir_of(config), checkpoint_hook_of(config)
    elsewhere = "://" in folder or (isinstance(hook, Mapping) and hook.get("out_dir"))
    if trial.file_bytes is None or elsewhere:
        return
    files = files_of(config, times)
    # One more, since a new file is complete before an old one is deleted.
    needed = (files.kept + 1) * trial.file_bytes + files.best * (trial.weight_bytes or 0)
    free = shutil.disk_usage(existing(folder)).free
    if needed > free:
        yield Fault(
            path="default_hooks.checkpoint.max_keep_ckpts",
            given=f"{files.kept} files of {size(trial.file_bytes)}",
            why=f"{size(needed)} are needed, and {folder} has {size(free)} free",
            advice="a smaller max_keep_ckpts, a larger interval, or another work_dir",
        )


def _iterations(times: Timetable, iters: int | None, batch_size: int | None) -> str:
    of = f" of {batch_size} samples" if batch_size else ""
    if not times.by_epoch:
        return f"{times.end}{of}"
    if iters is None:
        return f"those of {times.end} epochs"
    return f"{iters}{of}: {times.end} epochs of {times.epoch_length}"


def count_validations(times: Timetable) -> int:
    """Return how often a run validates.

    >>> count_validations(Timetable(by_epoch=True, end=10, val_begin=4, intervals=(3,)))
    3
    """
    if not times.validates or times.val_begin > times.end:
        return 0
    if len(times.intervals) == 1:
        interval, before = times.intervals[0], max(times.val_begin, 1) - 1
        return times.end // interval - before // interval + (times.end % interval > 0)
    due = {n for interval in times.intervals for n in range(interval, times.end + 1, interval)}
    return sum(validates_after(times, n) for n in due | {times.end})


def files_of(config: Mapping[str, Any], times: Timetable) -> Files:
    """Return what a run's CheckpointHook writes."""
    hook = checkpoint_hook_of(config)
    if not isinstance(hook, Mapping):
        return Files(written=0, kept=0, best=0)
    by_epoch, interval = flag_of(hook, "by_epoch", True), count_of(hook, "interval", -1)
    length = length_in(times, by_epoch) or (1 if by_epoch else 0)
    last = flag_of(hook, "save_last", True)
    first = count_of(hook, "save_begin", 0) + interval
    due = range(first, length + 1, interval) if interval > 0 else range(0)
    written = len(due) + (last and length not in due)
    most = count_of(hook, "max_keep_ckpts", -1)
    best = hook.get("save_best")
    watched = len(best) if isinstance(best, list | tuple) else int(isinstance(best, str))
    return Files(written=written, kept=min(written, most) if most > 0 else written, best=watched)


def _checkpoints(files: Files, trial: Trial) -> str:
    text = f"{files.written} written, {files.kept} kept"
    if trial.file_bytes is not None:
        text += f" of {size(trial.file_bytes)}"
    best = f", and {files.best} best"
    if trial.weight_bytes is not None:
        best += f" of {size(trial.weight_bytes)}"
    return text + (best if files.best else "")


def duration(seconds: float) -> str:
    """Return a time for people.

    >>> duration(42), duration(3700), duration(260000)
    ('42 s', '1 h 1 min', '3 d 0 h')
    """
    for name, length, smaller, part in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if seconds >= length:
            whole, rest = divmod(int(seconds), length)
            return f"{whole} {name} {rest // part} {smaller}"
    return f"{seconds:.0f} s"


def _learning_rates(
    config: Mapping[str, Any], times: Timetable, trial: Trial
) -> Iterator[tuple[str, str]]:
    iters = length_in(times, by_epoch=False)
    schedules = dict(schedules_of(config)) or {"": []}
    if iters is None or not trial.rates or live_objects(config.get("param_scheduler")):
        return
    per_epoch = times.epoch_length if times.by_epoch else 1
    for name, base in trial.rates.items():
        group = [as_dicts(each) for _, each in schedules.get(name, schedules.get("", []))]
        values = trace(group, [{"lr": base}], iters, max(per_epoch, 1), by_epoch=times.by_epoch)
        bounds = {
            each[key] * (per_epoch if each.get("by_epoch", True) else 1)
            for each in group
            for key in ("begin", "end")
            if isinstance(each.get(key), int)
        }
        label = f"lr of {name}" if name else "lr"
        for first, last, text in phases(values[0]["lr"], sorted(bounds)):
            yield label, f"iterations {first} to {last}: {text}"


def phases(values: Sequence[float], bounds: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Cut a curve where schedules begin and end, and where it steps; iterations count from 1.

    >>> list(phases([1.0, 2.0, 3.0, 3.0, 0.3], [3]))
    [(1, 1, '1'), (2, 2, '2'), (3, 4, '3'), (5, 5, '0.3')]
    >>> list(phases([float(n) for n in range(1, 10)] + [5.0], [9]))
    [(1, 9, '1 → 9'), (10, 10, '5')]
    """
    cuts = sorted({0, len(values), *(b for b in bounds if 0 < b < len(values))})
    found: list[tuple[int, int, str]] = []
    for start, stop in pairwise(cuts):
        steps = [i for i in range(start + 1, stop) if values[i] != values[i - 1]]
        edges = [start, *steps, stop] if len(steps) < _PLATEAUS else [start, stop]
        for first, last in pairwise(edges):
            text = _ends(values[first:last])
            # One plateau, where a schedule begins or ends without changing the value.
            same = bool(found) and found[-1][2] == text and "→" not in text
            begin = found.pop()[0] if same else first + 1
            found.append((begin, last, text))
    yield from found


def _ends(values: Sequence[float]) -> str:
    first, last = values[0], values[-1]
    turns = [v for v in (max(values), min(values)) if v not in (first, last)]
    return " → ".join(
        f"{v:.4g}" for v in ([first] if len(set(values)) == 1 else [first, *turns, last])
    )
