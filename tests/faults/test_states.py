"""States of Lightning's callbacks in a file: what is of another kind is named, before a callback gets it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer
from torch.utils.data import DataLoader

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.lightning import MMLightningModule
from tests.scenarios import Points, models

pytestmark = pytest.mark.filterwarnings("ignore")


class Counter(Callback):
    """Count epochs, with a part that exists only after the training has begun."""

    def __init__(self) -> None:
        self.count = 0
        self.total: Any = 0

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self.begun = True

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        self.total = [1.0, 2.0]  # of another kind than at first

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "total": self.total, "begun": getattr(self, "begun", None)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.count = state_dict["count"]


def fit(folder: Path, epochs: int, path: str | None = None) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            ModelCheckpoint(dirpath=folder, monitor="val_loss", save_top_k=2),
            EarlyStopping("val_loss", patience=9),
            Timer("00:01:00:00"),
            Counter(),
        ],
    )
    module = MMLightningModule(
        models("mm2pl")["plain"](), {"optimizer": {"type": "SGD", "lr": 0.1}}
    )
    loader = DataLoader(Points(16), batch_size=8)
    trainer.fit(module, loader, loader, ckpt_path=path)
    return trainer


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("written")
    trainer = fit(folder, 1)
    return torch.load(trainer.checkpoint_callback.best_model_path, weights_only=True)


def key_of(content: dict[str, Any], name: str) -> str:
    return next(key for key in content["callbacks"] if key.startswith(name))


WRONG: dict[str, tuple[str, Any, str]] = {
    "a list": ("ModelCheckpoint", [1], r"is \[1\] \(list\) → a dict is needed"),
    "a text": ("ModelCheckpoint", "three", r"is 'three' \(str\) → a dict is needed"),
    "a path": ("ModelCheckpoint", {"best_k_models": 5}, r"\.best_k_models is 5 \(int\) → a dict"),
    "a wait": ("EarlyStopping", {"wait_count": "two"}, r"\.wait_count is 'two' \(str\) → a number"),
    "a time": ("Timer", {"time_elapsed": [1]}, r"\.time_elapsed is \[1\] \(list\) → a dict"),
    "a user's": ("Counter", 5, r"is 5 \(int\) → a dict is needed"),
    "the hooks'": ("OwnTrainer", [1], r"is \[1\] \(list\) → a dict is needed"),
}


@pytest.mark.parametrize(("name", "value", "said"), WRONG.values(), ids=WRONG)
def test_a_state_of_another_kind_is_named(tmp_path, written, name, value, said):
    content = copy.deepcopy(written)
    states = content["callbacks"]
    key = key_of(content, name) if name != "OwnTrainer" else name
    both = isinstance(value, dict) and key in states
    states[key] = {**states[key], **value} if both else value
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(CheckpointError, match=rf"x\.ckpt: callbacks\.{name}.*{said}"):
        fit(tmp_path, 2, str(tmp_path / "x.ckpt"))


def test_the_states_that_were_written_are_taken(tmp_path, written):
    content = copy.deepcopy(written)
    del content["callbacks"][key_of(content, "ModelCheckpoint")]["best_model_score"]
    torch.save(content, tmp_path / "x.ckpt")
    assert fit(tmp_path, 2, str(tmp_path / "x.ckpt")).current_epoch == 2
