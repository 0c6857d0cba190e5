"""Loops with their own ``run`` or ``run_epoch``, bit for bit as under MMEngine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.loops.driving import loader_dict, loops
from tests.scenarios import Scenario, accuracy, assert_equal, build, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4}}
SCHEDULES = [
    {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
    {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True},
]
PAIR = {
    "generator": {"optimizer": {"type": "Adam", "lr": 1e-3}},
    "discriminator": {"optimizer": {"type": "SGD", "lr": 0.01, "momentum": 0.5}},
}
EPOCHS = {"by_epoch": True, "max_epochs": 3}


def scenario(package: str, name: str) -> Scenario:
    """Make the run of one loop, with the hooks that look at a loop most."""
    made, stage, settings = loops(package)[name], *LOOPS[name]
    given = {"type": made, **settings}
    by_iter = "max_iters" in settings
    monitor = "teacher/accuracy" if name == "teacher and student" else "accuracy"
    several = {} if name != "many sets" else {
        "val_dataloader": [loader_dict(30), loader_dict(21)],
        "val_evaluator": [{"type": accuracy(package)}, [{"type": accuracy(package)}]],
    }  # fmt: skip
    return Scenario(
        optim_wrapper=PAIR if name == "critics" else SGD,
        model="pair" if name == "critics" else "plain",
        param_scheduler=None if name == "critics" else SCHEDULES,
        train_cfg=given if stage == "train" else EPOCHS,
        options={"val_cfg": given if stage == "val" else {}, **several},
        custom_hooks=[
            {"type": "EMAHook", "momentum": 0.1},
            {"type": "EarlyStoppingHook", "monitor": monitor, "patience": 2, "min_delta": 0.5},
        ],
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "interval": 7 if by_iter else 1,
                "by_epoch": not by_iter,
                "save_best": monitor,
                "rule": "greater",
            }
        },
    )


LOOPS: dict[str, tuple[str, dict[str, Any]]] = {
    "by epochs": ("train", {"max_epochs": 4}),
    "by iterations": ("train", {"max_iters": 23, "val_interval": 7, "dynamic_intervals": [(10, 2)]}),
    "two loaders": ("train", {"max_epochs": 3, "other": loader_dict(50, shuffle=True)}),
    "curriculum": ("train", {"max_epochs": 3}),
    "search": ("train", {"max_epochs": 3}),
    "critics": ("train", {"max_iters": 11, "val_interval": 4}),
    "tries again": ("train", {"max_epochs": 3}),
    "from the base": ("train", {"epochs": 3}),
    "teacher and student": ("val", {}),
    "many sets": ("val", {}),
    "retrieval": ("val", {"prototypes": loader_dict(16)}),
}  # fmt: skip


@pytest.mark.parametrize("name", LOOPS)
def test_a_run_is_mmengines(name: str, tmp_path: Path, quick_runs: None) -> None:
    ours, theirs = (
        record(package, scenario(package, name), str(tmp_path / package))
        for package in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) >= 11
    assert theirs["metrics"]
    assert_equal(ours, theirs)


SCRIPT = Path(__file__).resolve().parents[1] / "loops" / "two_processes.py"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["two loaders"], ["by iterations"], ["by hand"], ["by hand", "broadcast"], ["by epochs", "broadcast"]],
    ids=" ".join,
)  # fmt: skip
def test_two_processes_are_mmengines(arguments: list[str], tmp_path: Path) -> None:
    theirs, ours = (run_two(package, tmp_path, arguments) for package in ("mmengine", "mm2pl"))
    for mine, other in zip(ours, theirs, strict=True):
        assert len(mine["loss"]) >= 9
        assert_equal(mine, other)
    assert ours[0]["loss"] != ours[1]["loss"]
    for name, value in ours[0]["weights"].items():
        # Running means are each process's own.
        assert "running" in name or torch.equal(value, ours[1]["weights"][name]), name


def run_two(package: str, folder: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """Train with two processes; return what each recorded."""
    launch = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        free_port(),
    ]
    subprocess.run(
        [*launch, str(SCRIPT), package, str(folder), *arguments],
        check=True,
        timeout=240,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
    )  # fmt: skip
    # Our own files of this run, with more than tensors in them.
    return [torch.load(folder / f"{package}_{rank}.pt", weights_only=False) for rank in (0, 1)]


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def by_hand(package: str, folder: str) -> dict[str, Any]:
    """Train without any loop's ``run``, as a script does that only wants the parts of a Runner."""
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    given = scenario(package, "by epochs")
    given.train_cfg = EPOCHS
    runner = build(package, given, folder, book)
    train_loop = runner._train_loop = runner.build_train_loop(runner._train_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner.call_hook("before_run")
    runner._init_model_weights()
    runner.optim_wrapper.initialize_count_status(runner.model, 0, runner.max_iters)
    runner.call_hook("before_train")
    for _ in range(2):
        runner.call_hook("before_train_epoch")
        runner.model.train()
        for idx, data in enumerate(runner.train_dataloader):
            batch = {"batch_idx": idx, "data_batch": data}
            runner.call_hook("before_train_iter", **batch)
            with runner.optim_wrapper.optim_context(runner.model):
                losses = runner.model(**runner.model.data_preprocessor(data, True), mode="loss")
            loss, outputs = runner.model.parse_losses(losses)
            runner.optim_wrapper.update_params(loss)
            runner.call_hook("after_train_iter", **batch, outputs=outputs)
            train_loop._iter += 1
        runner.call_hook("after_train_epoch")
        train_loop._epoch += 1
        runner.val_loop.run()
    runner.call_hook("after_train")
    runner.call_hook("after_run")
    file = torch.load(f"{folder}/epoch_2.pth", weights_only=False)
    kept = {name: sorted(file["optimizer"]["state"][0]) for name in ("optimizer",)}
    return {**book, "file": [file["meta"]["iter"], kept], "weights": runner.model.state_dict()}


def test_a_loop_outside_any_class_is_mmengines(tmp_path: Path, quick_runs: None) -> None:
    ours, theirs = (by_hand(package, str(tmp_path / package)) for package in ("mm2pl", "mmengine"))
    assert len(theirs["loss"]) == 18
    assert_equal(ours, theirs)
