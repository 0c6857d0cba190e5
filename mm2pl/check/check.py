"""Check a config, or a runner, before its run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mm2pl.check.environment import described, faults_of_places
from mm2pl.check.outlook import faults_of_room, outlook
from mm2pl.check.report import Report
from mm2pl.check.trial import Trial, try_out
from mm2pl.check.twin import twin_of
from mm2pl.plan.fault import Fault
from mm2pl.plan.schema import faults_of
from mm2pl.plan.translate import whole_config
from mm2pl.plan.unread import redefined
from mm2pl.run.reach import faults_of_settings, timetable_of

if TYPE_CHECKING:
    from mm2pl.config import Config
    from mm2pl.runner.runner import Runner


def check_config(
    cfg: Config,
    make: Callable[[str], Runner] | None = None,
    origins: Mapping[str, str] | None = None,
    trusted: bool = True,
) -> Report:
    """Check what a config says.

    Args:
        cfg: The config; not changed.
        make: Makes the runner of a trial in the folder that it is given; without it nothing is built.
        origins: Dotted key → the word of a command line that has set it.
        trusted: Whether modules that the config names may be imported.
    """
    found = [*redefined(cfg), *faults_of(cfg, origins=origins, trusted=trusted)]
    return _report(str(cfg.filename or "config"), dict(cfg.items()), make, found, trusted)


def check_runner(runner: Runner) -> Report:
    """Check ``runner`` by a trial of its copy, which leaves the runner and the process as they were."""
    run = runner._run
    config = whole_config(run.plan.run, run.plan.model, run.plan.data)
    found = [*([_ONE_PROCESS] if run.world_size > 1 else []), *faults_of(config)]
    if not all(isinstance(config.get(f"{s}_cfg"), Mapping | None) for s in ("train", "val")):
        return _report(run.experiment_name, config, None, [*found, _NO_COPY])
    return _report(run.experiment_name, config, lambda folder: twin_of(runner, folder), found)


_ONE_PROCESS = Fault(
    path="launcher",
    given="several processes",
    why="one of them was tried out, so the memory of their strategy was not",
    severity="note",
)
_NO_COPY = Fault(
    path="train_cfg",
    given="a built loop",
    why="it cannot be copied, so the run is not tried out",
    advice="give the loop as a dict",
    severity="note",
)


def _report(
    name: str,
    config: Mapping[str, Any],
    make: Callable[[str], Runner] | None,
    found: list[Fault],
    trusted: bool = True,
) -> Report:
    found = [*found, *faults_of_places(config, trusted)]
    trial = Trial()
    trains = config.get("train_cfg") is not None
    if make is not None and trains and not any(fault.severity == "error" for fault in found):
        trial = try_out(make, config)
        found += trial.faults
    if trial.times is None:
        # What a trial has stumbled over in one of a key's settings need not be said twice.
        blamed = {fault.path.partition(".")[0] for fault in trial.faults}
        settings = faults_of_settings(config)
        found += [each for each in settings if each.path.partition(".")[0] not in blamed]
    times = trial.times or timetable_of(config)
    rows: list[tuple[str, str]] = []
    if times is not None:
        rows = outlook(config, times, trial)
        found += faults_of_room(config, times, trial)
    # The schema and the trial may both have seen a mistake.
    distinct = list({(fault.path, fault.reason): fault for fault in found}.values())
    return Report(name=name, environment=described(config), rows=rows, faults=distinct)
