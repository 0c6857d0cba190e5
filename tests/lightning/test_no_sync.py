"""Between two log lines a run never asks a tensor for its value, which on a GPU would wait for the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mm2pl.hooks import Hook
from tests.scenarios import Scenario, build

pytestmark = [
    pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

READS = (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
COPIES = ("cpu", "numpy", "tolist")
CONTROL = 14
SGD = {"type": "SGD", "lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}


class Reads(TorchDispatchMode):
    """Count what would wait for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func in READS
        return func(*args, **(kwargs or {}))

    def counted(self, method: Any) -> Any:
        """Return a method that copies to the CPU, counted: of a tensor that is there it dispatches nothing."""

        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            return method(*args, **kwargs)

        return call


class Watch(Hook):
    """Note, after each iteration, how many values had been read so far; read one itself, to see that it counts."""

    priority = "LOWEST"

    def __init__(self, reads: Reads) -> None:
        self.reads = reads
        self.after: list[int] = []

    def after_train_iter(self, runner: Any, outputs: Any = None, **kwargs: Any) -> None:
        if runner.iter + 1 == CONTROL:
            assert outputs["loss"] > 0
        if runner.iter + 1 == CONTROL + 1:
            outputs["loss"].cpu()
        self.after.append(self.reads.count)


RUNS: dict[str, dict[str, Any]] = {
    "plain": {"optim_wrapper": {"optimizer": SGD}},
    "clipping and accumulation": {
        "optim_wrapper": {
            "optimizer": SGD,
            "clip_grad": {"max_norm": 1.0},
            "accumulative_counts": 2,
        }
    },
    "average of the weights": {
        "optim_wrapper": {"optimizer": SGD},
        "custom_hooks": [{"type": "EMAHook"}],
    },
    "every hook that acts in an iteration": {
        "optim_wrapper": {"optimizer": SGD},
        "custom_hooks": [
            {"type": "EMAHook", "ema_type": "MomentumAnnealingEMA", "update_buffers": True},
            {"type": "EmptyCacheHook", "after_iter": True},
            {"type": "SyncBuffersHook"},
        ],
    },
    "bfloat16": {
        "optim_wrapper": {"type": "AmpOptimWrapper", "dtype": "bfloat16", "optimizer": SGD},
        "custom_hooks": [{"type": "EMAHook"}],
    },
    "by epochs": {
        "optim_wrapper": {"optimizer": SGD},
        "train_cfg": {"by_epoch": True, "max_epochs": 3},
    },
}


@pytest.mark.parametrize("settings", RUNS.values(), ids=RUNS)
def test_values_are_read_at_log_points_only(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    # Values that are on the CPU are read at once: let the tensors say that they are elsewhere.
    monkeypatch.setattr(torch.Tensor, "is_cpu", False, raising=False)
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    reads = Reads()
    for name in COPIES:
        monkeypatch.setattr(torch.Tensor, name, reads.counted(getattr(torch.Tensor, name)))
    watch = Watch(reads)
    iters = {"by_epoch": False, "max_iters": 27}
    unvalidated = dict.fromkeys(("val_dataloader", "val_cfg", "val_evaluator"))
    logger = {"logger": {"type": "LoggerHook", "interval": 9}}
    scenario = {"train_cfg": iters, "default_hooks": logger, **settings}
    hooks = [*scenario.get("custom_hooks", []), watch]
    runner = build(
        "mm2pl", Scenario(**scenario), str(tmp_path), book, custom_hooks=hooks, **unvalidated
    )
    with reads:
        runner.train()
    # torch's scaler asks once in each step whether a gradient is inf; MMEngine has one for bfloat16 too.
    own = settings["optim_wrapper"].get("type") == "AmpOptimWrapper"
    steps = [now - before - own for before, now in zip(watch.after, watch.after[1:], strict=False)]
    assert len(steps) == 26
    reading = {number for number, count in enumerate(steps, start=2) if count}
    new_passes = {10, 19}  # torch's loader draws its workers' seed, on the CPU
    assert reading - {9, 18, 27} - new_passes == {CONTROL, CONTROL + 1}
    assert len(runner.message_hub.get_scalar("train/loss").data[0]) == 27
