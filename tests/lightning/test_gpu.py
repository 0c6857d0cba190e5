"""What only a CUDA device can show: no waiting between log points, a dynamic loss scale, peak memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.hooks import Hook
from mm2pl.runner import Runner
from tests.benchmarks import drivers
from tests.benchmarks.networks import Detector, Task, images

DEVICE = "cuda"
INTERVAL = 10

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore::UserWarning")]


def task(iterations: int, dtype: str | None = None) -> Task:
    """Return a model with eight losses and batches that lie on the device."""
    sgd = {"type": "SGD", "lr": 0.01, "momentum": 0.9}
    return Task(
        network=Detector,
        loader=images(2, 64),
        iterations=iterations,
        optimizer=sgd,
        device=DEVICE,
        dtype=dtype,
    )


def runner(tmp_path: Path, made: Task, hook: Hook, **optim_wrapper: Any) -> Runner:
    return Runner(
        model=drivers.model_of(made, "mm2pl"),
        work_dir=str(tmp_path),
        train_dataloader=made.batches(),
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={**drivers.wrapper_of(made), **optim_wrapper},
        param_scheduler={"type": "LinearLR", "by_epoch": False, "end": 20},
        default_hooks={"logger": {"type": "LoggerHook", "interval": INTERVAL}},
        custom_hooks=[hook],
    )


@contextlib.contextmanager
def no_waiting_left() -> Iterator[None]:
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


class NoWaiting(Hook):
    """Make waiting for the device an error in every iteration that no log line follows."""

    def __init__(self) -> None:
        self.strict = 0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        # The first iteration chooses algorithms and allocates.
        logs = (batch_idx + 1) % INTERVAL == 0 or batch_idx == 0
        torch.cuda.set_sync_debug_mode("default" if logs else "error")
        self.strict += not logs


@pytest.mark.parametrize(
    ("dtype", "options"),
    [
        (None, {}),
        (None, {"clip_grad": {"max_norm": 1.0}}),
        (None, {"accumulative_counts": 4}),
        ("bfloat16", {}),
    ],
    ids=["fp32", "clipping", "accumulation", "bf16"],
)
def test_a_run_never_waits_between_log_points(tmp_path, dtype, options) -> None:
    hook, made = NoWaiting(), task(3 * INTERVAL, dtype)
    with no_waiting_left():
        run = runner(tmp_path, made, hook, **options)
        run.train()
    assert hook.strict == 3 * INTERVAL - 4
    assert run.iter == 3 * INTERVAL
    history = run.message_hub.get_scalar("train/loss").data[0]
    assert len(history) == 3 * INTERVAL
    assert all(value > 0 for value in history)


class Overflow(Hook):
    """Make the gradients of one iteration infinite, and keep each iteration's scale."""

    def __init__(self) -> None:
        self.scales: list[float] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        handle = None

        def spoil(grad: torch.Tensor) -> torch.Tensor:
            handle.remove()
            return torch.full_like(grad, float("inf"))

        if batch_idx == 4:
            handle = next(runner.model.parameters()).register_hook(spoil)

    def after_train_iter(self, runner: Any, batch_idx: int, **_: Any) -> None:
        self.scales.append(runner.optim_wrapper.loss_scaler.get_scale())


def test_a_dynamic_scale_halves_after_an_overflow(tmp_path) -> None:
    hook, made = Overflow(), task(8, "float16")
    run = runner(tmp_path, made, hook, loss_scale={"init_scale": 1024.0, "growth_interval": 100})
    run.train()
    assert hook.scales == [1024.0] * 4 + [512.0] * 4
    assert all(parameter.isfinite().all() for parameter in run.model.parameters())
    saved = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    assert saved["optimizer"]["loss_scaler"]["scale"] == 512.0


@pytest.mark.parity
@pytest.mark.parametrize("dtype", [None, "bfloat16"], ids=["fp32", "bf16"])
def test_peak_memory_is_not_above_mmengines(dtype) -> None:
    pytest.importorskip("mmengine")
    made = task(30, dtype)
    drivers.bare(made)  # libraries' workspaces
    theirs = drivers.runner(made, "mmengine").memory
    assert drivers.runner(made, "mm2pl").memory <= 1.02 * theirs
