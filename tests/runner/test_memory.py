"""What a run holds while it lasts and what is left of it: counts of objects, files and threads."""

from __future__ import annotations

import gc
import multiprocessing
import threading
import weakref
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from mm2pl.hooks import Hook
from tests.scenarios import Scenario, build

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}}
SAVING = {
    "type": "CheckpointHook",
    "interval": 1,
    "max_keep_ckpts": 2,
    "save_best": "accuracy",
    "rule": "greater",
}

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def runner_with(folder: Path, hook: Hook, epochs: int, workers: int = 0) -> tuple[Any, dict]:
    scenario = Scenario(
        optim_wrapper=SGD,
        param_scheduler={"type": "PolyLR", "by_epoch": True, "end": epochs},
        train_cfg={"by_epoch": True, "max_epochs": epochs, "val_interval": 1},
        workers=workers,
        default_hooks={"checkpoint": SAVING},
        custom_hooks=[hook],
    )
    book = {key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")}
    return build("mm2pl", scenario, str(folder), book), book


def open_files() -> int:
    """Return how many descriptors the process has, where the system tells."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


class Count(Hook):
    """Note by type what there is after some epochs. The first time leaves caches, which the next times find."""

    priority = "VERY_LOW"

    def __init__(self, *epochs: int) -> None:
        self.epochs, self.seen, self.book = epochs, [], {}

    def before_train_epoch(self, runner: Any) -> None:
        for values in self.book.values():
            values.clear()
        if runner.epoch in self.epochs:
            gc.collect()
            objects = Counter(type(each) for each in gc.get_objects())
            self.seen.append((objects, open_files(), threading.active_count()))


def test_a_run_holds_after_forty_epochs_what_it_held_after_twenty(tmp_path: Path) -> None:
    count = Count(10, 20, 40)
    runner, count.book = runner_with(tmp_path, count, epochs=41)
    runner.train()
    _, (before, *others), (after, *others_after) = count.seen
    # What is noted is itself among the objects the next time.
    more = {kind: n - before[kind] for kind, n in after.items() if n > before[kind] + 5}
    assert (more, others_after) == ({}, others)


class Leave(Hook):
    """Fail in the second epoch, at a stage."""

    def __init__(self, stage: str, error: type[BaseException]) -> None:
        self.stage, self.error = stage, error

    def leave(self, runner: Any) -> None:
        if runner.epoch == 1:
            raise self.error("on purpose")

    def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        if self.stage == "training":
            self.leave(runner)

    def after_val_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        if self.stage == "validation":
            self.leave(runner)


ENDINGS: dict[str, Any] = {
    "the end": (Hook, 0),
    "the end, workers": (Hook, 2),
    "training fails": (lambda: Leave("training", ArithmeticError), 0),
    "training fails, workers": (lambda: Leave("training", ArithmeticError), 2),
    "validation fails": (lambda: Leave("validation", ArithmeticError), 0),
}


def parts_of_a_run(folder: Path, hook: Hook, workers: int) -> dict[str, Any]:
    runner, _ = runner_with(folder, hook, epochs=2, workers=workers)
    try:
        runner.train()
    except ArithmeticError:
        assert isinstance(hook, Leave)
    assert multiprocessing.active_children() == []
    parts = {
        "runner": runner,
        "trainer": runner.trainer,
        "model": runner.model,
        "wrapper": runner.optim_wrapper,
        "optimizer": runner.optim_wrapper.optimizer,
        "schedule": runner.param_schedulers[0],
        "loader": runner.train_dataloader,
        "validation's loader": runner.val_dataloader,
        "data set": runner.train_dataloader.dataset,
        "hook": hook,
    }
    return {name: weakref.ref(part) for name, part in parts.items()}


@pytest.mark.parametrize(("made", "workers"), ENDINGS.values(), ids=ENDINGS)
def test_nothing_is_left_of_runs_but_their_names(made: Any, workers: int, tmp_path: Path) -> None:
    """Loggers, message hubs and visualizers stay, as in MMEngine: ``get_instance`` finds them by name."""
    threads, files, left = threading.active_count(), [], Counter()
    for number in range(4):
        parts = parts_of_a_run(tmp_path / str(number), made(), workers)
        gc.collect()
        left.update(name for name, part in parts.items() if part() is not None)
        files.append(open_files())
    assert left == {}
    assert len(set(files[1:])) == 1
    assert threading.active_count() == threads
