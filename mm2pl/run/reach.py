"""Settings of a config beyond the end of its run, or counted in a unit that the run does not have. Nothing is built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mm2pl.closest import misspelt
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault
from mm2pl.run.building import DEFAULT_HOOKS
from mm2pl.run.clock import Timetable, first_validation

_ENDLESS = 10**12
"""No run has so many iterations."""

BEGINS = {"begin_epoch": True, "begin_iter": False}
"""Arguments of hooks from which on they act → whether they count epochs."""


def timetable_of(config: Mapping[str, Any]) -> Timetable | None:
    """Return when a config's run validates and ends, or None if it does not say so in whole numbers."""
    cfg = config.get("train_cfg")
    if not isinstance(cfg, Mapping):
        return None
    by_epoch = flag_of(cfg, "by_epoch", "max_epochs" in cfg)
    end: Any = cfg.get("max_epochs" if by_epoch else "max_iters")
    begin = cfg.get("val_begin", 1)
    interval = cfg.get("val_interval", 1 if by_epoch else 1000)
    dynamic = cfg.get("dynamic_intervals")
    dynamic = () if dynamic is None else dynamic
    # Anything else is for the schema to refuse.
    pairs = isinstance(dynamic, list | tuple) and all(_is_pair(each) for each in dynamic)
    whole = all(isinstance(n, int) and 0 < n < _ENDLESS for n in (end, interval))
    if not (pairs and whole and isinstance(begin, int)):
        return None
    return Timetable(
        by_epoch=by_epoch,
        end=end,
        val_begin=begin,
        milestones=(0, *(milestone for milestone, _ in dynamic)),
        intervals=(interval, *(each for _, each in dynamic)),
        validates=config.get("val_cfg") is not None,
    )


def faults_of_settings(config: Mapping[str, Any], times: Timetable | None = None) -> list[Fault]:
    """Return the settings that the run of a config never comes to.

    Args:
        config: Its keys; hooks and schedules may be built already.
        times: Those of the built loop; without them they follow from ``train_cfg``. An ``epoch_length`` of 0 is
            unknown, and what depends on it is left out.
    """
    times = times or timetable_of(config)
    if times is None:
        return []
    return [
        *_validations(config, times),
        *_checkpoints(config, times),
        *_hooks(config, times),
        *_schedules(config, times),
    ]


def length_in(times: Timetable, by_epoch: bool) -> int | None:
    """Return the length of a run in epochs or in iterations, or None if it is not known in that unit.

    >>> length_in(Timetable(by_epoch=True, end=3, epoch_length=10), by_epoch=False)
    30
    """
    if times.by_epoch == by_epoch:
        return times.end
    return times.end * times.epoch_length or None if times.by_epoch else None


def unit(by_epoch: bool) -> str:
    """Return the word for what is counted."""
    return "epochs" if by_epoch else "iterations"


def _validations(config: Mapping[str, Any], times: Timetable) -> Iterator[Fault]:
    if not times.validates:
        return
    length = f"{times.end} {unit(times.by_epoch)}"
    if times.val_begin < 1:
        yield _warning(
            "train_cfg.val_begin",
            times.val_begin,
            f"counted from 1, and nothing is validated before the first {unit(times.by_epoch)[:-1]}",
            "give 1; `mm2pl validate` judges the weights before the training",
        )
    elif times.val_begin > times.end:
        return  # never validated, which the table of keys says
    elif first_validation(times) == times.end > 1 and "val_interval" in _dict(config, "train_cfg"):
        yield _note(
            "train_cfg.val_interval",
            times.intervals[0],
            f"the run of {length} validates once, at its end",
        )
    for index, milestone in enumerate(times.milestones[1:]):
        if milestone > times.end:
            yield _warning(
                f"train_cfg.dynamic_intervals.{index}",
                milestone,
                f"the run ends after {length}",
                f"a milestone of at most {times.end}",
            )


def _checkpoints(config: Mapping[str, Any], times: Timetable) -> Iterator[Fault]:
    path, hook = "default_hooks.checkpoint", checkpoint_hook_of(config)
    if hook is None:
        yield _note(path, None, "the run writes no checkpoint")
        return
    by_epoch, interval = flag_of(hook, "by_epoch", True), count_of(hook, "interval", -1)
    length, counted = length_in(times, by_epoch), unit(by_epoch)
    last = "only at the end" if flag_of(hook, "save_last", True) else "never"
    if by_epoch and not times.by_epoch:
        # MMEngine's loop by iterations is one epoch.
        if interval > 0:
            yield _warning(
                f"{path}.by_epoch",
                by_epoch,
                f"train_cfg counts iterations, so a checkpoint is saved {last}",
                f"by_epoch=False and an interval below {times.end}",
            )
    elif length is not None and interval > length:
        yield _warning(
            f"{path}.interval",
            interval,
            f"the run has {length} {counted}, so a checkpoint is saved {last}",
            f"at most {length}",
        )
    begin = count_of(hook, "save_begin", 0)
    if length is not None and begin > length:
        yield _warning(
            f"{path}.save_begin", begin, f"the run has {length} {counted}", f"below {length}"
        )


def _hooks(config: Mapping[str, Any], times: Timetable) -> Iterator[Fault]:
    for name in _dict(config, "default_hooks"):
        if meant := misspelt(str(name), DEFAULT_HOOKS):
            yield _warning(
                f"default_hooks.{name}",
                config["default_hooks"][name],
                f"one more hook, and the default one called {meant!r} stays as it is",
                f"did you mean {meant!r}? A hook of its own stands in custom_hooks",
            )
    for path, hook in hooks_of(config):
        for name, by_epoch in BEGINS.items():
            begin, length = count_of(hook, name, 0), length_in(times, by_epoch)
            if begin > 0 and length is not None and begin >= length:
                yield _warning(
                    join(path, name),
                    begin,
                    f"the run has {length} {unit(by_epoch)}, so the hook never begins",
                    f"below {length}",
                )


def checkpoint_hook_of(config: Mapping[str, Any]) -> Any:
    """Return a config's checkpoint hook, built or not, or None if it has taken it out."""
    return _dict(config, "default_hooks").get("checkpoint", DEFAULT_HOOKS["checkpoint"])


def hooks_of(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every hook of a config, built or not, and its path."""
    for name, hook in _dict(config, "default_hooks").items():
        if hook is not None:
            yield join("default_hooks", name), hook
    custom = config.get("custom_hooks")
    for index, hook in enumerate(custom if isinstance(custom, list | tuple) else ()):
        yield join("custom_hooks", index), hook


def schedules_of(config: Mapping[str, Any]) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """Yield for each optimizer the schedules, built or not, with their paths; a single one has the name ``""``."""
    given = config.get("param_scheduler")
    if given is None:
        return
    several = isinstance(given, Mapping) and "type" not in given
    for name, group in given.items() if several else [("", given)]:
        path = join("param_scheduler", name) if several else "param_scheduler"
        if isinstance(group, list | tuple):
            yield name, [(join(path, index), each) for index, each in enumerate(group)]
        else:
            yield name, [(path, group)]


def _schedules(config: Mapping[str, Any], times: Timetable) -> Iterator[Fault]:
    for _, group in schedules_of(config):
        ends: list[tuple[Any, Any]] = []
        for path, schedule in group:
            by_epoch = flag_of(schedule, "by_epoch", True)
            length = length_in(times, by_epoch)
            if by_epoch and not times.by_epoch:
                if not flag_of(schedule, "convert_to_iter_based", False):
                    yield _warning(
                        join(path, "by_epoch"),
                        by_epoch,
                        "train_cfg counts iterations, so the schedule acts once, after the last of them",
                        "by_epoch=False, with lengths in iterations",
                    )
            elif length is not None:
                yield from _schedule(path, schedule, length, unit(by_epoch))
            end = _setting(schedule, "end", None)
            ends.append((length, end if isinstance(end, int) else length))
        if ends and all(length and end < length for length, end in ends):
            yield _note(
                group[-1][0],
                max(end for _, end in ends),
                "no schedule acts until the end of the run: the values then stay as they are",
            )


def _schedule(path: str, schedule: Any, length: int, counted: str) -> Iterator[Fault]:
    """Compare one schedule with the length of the run in the schedule's own unit."""
    begin, end = _setting(schedule, "begin", 0), _setting(schedule, "end", None)
    run = f"the run has {length} {counted}"
    if not isinstance(begin, int) or not isinstance(end, int | None):
        return
    if begin >= length:
        yield _warning(
            join(path, "begin"), begin, f"{run}, so the schedule never acts", f"below {length}"
        )
        return
    last = length if end is None else min(end, length)
    over = run if last == length else f"the schedule ends after {last} {counted}"
    milestones = [m for m in _numbers(schedule, "milestones") if begin + m >= last]
    if milestones and len(milestones) == len(_numbers(schedule, "milestones")):
        yield _warning(
            join(path, "milestones"), milestones, f"{over}, so none is reached", f"below {last}"
        )
    elif milestones:
        yield _note(join(path, "milestones"), milestones, f"{over}: these are not reached")
    for name in ("step_size", "T_max", "total_steps"):
        for number in _numbers(schedule, name):
            if begin + number > length:
                what = "is never reached" if name == "step_size" else "is cut off"
                yield _warning(
                    join(path, name), number, f"{run}: this {what}", f"at most {length - begin}"
                )
            elif name == "T_max" and begin + number < last:
                yield _warning(
                    join(path, name),
                    number,
                    f"the curve turns after {begin + number} of {last} {counted} and goes back to where it began",
                    f"end={begin + number}, or T_max={last - begin}",
                )
    # A built schedule without an end has MMEngine's large number there.
    spread = not milestones and isinstance(schedule, Mapping) and not _fixed(schedule)
    if spread and end is not None and end > length:
        yield _warning(
            join(path, "end"), end, f"{run}: the schedule is cut off", f"at most {length}"
        )


def _fixed(schedule: Mapping[str, Any]) -> bool:
    """Return whether a schedule's values do not depend on where it ends."""
    return any(
        name in schedule for name in ("milestones", "step_size", "T_max", "total_steps", "gamma")
    )


def _numbers(schedule: Any, name: str) -> list[int]:
    value = _setting(schedule, name, None)
    values = value if isinstance(value, list | tuple) else [value]
    return [each for each in values if isinstance(each, int)]


def count_of(part: Any, name: str, default: int) -> int:
    """Return an argument that counts something, and the default for what is not a whole number."""
    value = _setting(part, name, default)
    return value if isinstance(value, int) else default


def flag_of(part: Any, name: str, default: bool) -> bool:
    """Return an argument that is a switch, and the default for anything else."""
    value = _setting(part, name, default)
    return bool(value) if isinstance(value, int) else default


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list | tuple)
        and len(value) == 2
        and all(isinstance(each, int) and each > 0 for each in value)
    )


def _setting(part: Any, name: str, default: Any) -> Any:
    """Return an argument of a part that is a dict or built from one."""
    if isinstance(part, Mapping):
        return part.get(name, default)
    return getattr(part, name, default)


def _dict(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, Mapping) else {}


def _warning(path: str, given: object, accepted: str, advice: str) -> Fault:
    return Fault(path=path, given=repr(given), why=accepted, advice=advice, severity="warning")


def _note(path: str, given: object, accepted: str) -> Fault:
    return Fault(path=path, given=repr(given), why=accepted, severity="note")
