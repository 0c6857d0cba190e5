"""A loss that is NaN: the run stops, with a file of before that batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.hooks import Hook
from mm2pl.lightning import StopBeforeNaN
from mm2pl.lightning.stop_before_nan import LossIsNotFinite
from tests.scenarios import Scenario, build

pytestmark = pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad:UserWarning")

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
EPOCHS = {"by_epoch": True, "max_epochs": 2}
ITERS = {"by_epoch": False, "max_iters": 12, "val_interval": 5}


class Spoil(Hook):
    """Write down each batch by its labels, as the points are jittered, and the weights before it; spoil one of them."""

    def __init__(self, at: int, weights: bool = False) -> None:
        self.at, self.weights = at, weights
        self.batches: dict[int, Any] = {}
        self.states: dict[int, Any] = {}

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        state = runner.model.state_dict()
        self.batches[runner.iter] = data_batch["labels"]
        self.states[runner.iter] = {key: value.clone() for key, value in state.items()}
        if runner.iter == self.at:
            spoilt = next(runner.model.parameters()) if self.weights else data_batch["inputs"]
            with torch.no_grad():
                spoilt.mul_(torch.nan)


def train(folder: Path, spoil: Spoil, train_cfg: dict, wrapper: dict, **more: Any) -> None:
    scenario = Scenario(optim_wrapper=wrapper, train_cfg=train_cfg, custom_hooks=[spoil])
    scenario.default_hooks = {"checkpoint": {"type": "CheckpointHook", "by_epoch": True}}
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    runner = build("mm2pl", scenario, str(folder), book, randomness={"seed": 1}, **more)
    runner.trainer.callbacks.append(StopBeforeNaN())
    runner.train()


@pytest.mark.parametrize("train_cfg", [EPOCHS, ITERS], ids=["epochs", "iterations"])
@pytest.mark.parametrize("counts", [1, 3], ids=["", "accumulation"])
@pytest.mark.parametrize("at", [0, 5, 8], ids=["first", "middle", "last-of-epoch"])
def test_the_file_is_of_before_the_batch(tmp_path, train_cfg, counts, at):
    wrapper = {"optimizer": SGD, "accumulative_counts": counts}
    sound = Spoil(-1)
    train(tmp_path / "sound", sound, train_cfg, wrapper)
    bad, path = Spoil(at), tmp_path / "bad" / f"before_nan_iter_{at}.pth"
    with pytest.raises(
        LossIsNotFinite,
        match=f"in iteration {at + 1}: .* is .*before_nan_iter_{at}.pth → go on with --resume",
    ):
        train(tmp_path / "bad", bad, train_cfg, wrapper)
    again = Spoil(-1)
    train(tmp_path / "bad", again, train_cfg, wrapper, resume=True, load_from=str(path))
    assert min(again.batches) == at
    assert max(again.batches) == max(sound.batches)
    for key, value in sound.states[at].items():
        assert torch.equal(again.states[at][key], value), key
    assert all(torch.equal(again.batches[i], sound.batches[i]) for i in again.batches)


def test_weights_that_are_nan_already_are_not_written(tmp_path):
    with pytest.raises(LossIsNotFinite, match="in iteration 3: the weights are so already"):
        train(tmp_path, Spoil(2, weights=True), EPOCHS, {"optimizer": SGD})
    assert not list(tmp_path.glob("*.pth"))
