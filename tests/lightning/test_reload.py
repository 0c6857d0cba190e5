"""``reload_dataloaders_every_n_epochs`` asks a data module of the user's own for new loaders, as without a run."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from mm2pl.errors import ArgumentError
from mm2pl.runner import Runner
from tests.lightning.guests import Classifier, Data, points
from tests.lightning.test_guest import by_hand, config

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


class Curriculum(Data):
    """Other data each time."""

    def __init__(self, grows: bool = False) -> None:
        super().__init__()
        self.grows = grows
        self.asked = {"train": 0, "val": 0}

    def train_dataloader(self) -> DataLoader:
        self.asked["train"] += 1
        size = 40 + 8 * self.grows * self.asked["train"]
        loader = DataLoader(points(40 + 8 * self.asked["train"]), batch_size=8)
        loader.dataset.tensors = tuple(each[-size:] for each in loader.dataset.tensors)
        self.newest = loader
        return loader

    def val_dataloader(self) -> DataLoader:
        self.asked["val"] += 1
        return super().val_dataloader()


class Steady(Classifier):
    """Draws no random numbers while it trains."""

    def __init__(self, width: int) -> None:
        super().__init__(width, dropout=0.0)


class Losses(Callback):
    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        self.seen.append(float(outputs["loss"]))


@pytest.mark.parametrize(("every", "train"), [(0, 1), (1, 3), (2, 2)])
def test_a_run_takes_what_lightning_would(tmp_path, every, train):
    flags = {"reload_dataloaders_every_n_epochs": every}
    ours, theirs, plain = Losses(), Losses(), Curriculum()
    keys = config(Steady, str(tmp_path), datamodule=Curriculum())
    runner = Runner.from_cfg(keys, trainer={**flags, "callbacks": [ours]})
    runner.train()
    data = runner.datamodule
    by_hand(Steady, plain, callbacks=[theirs], **flags)
    assert ours.seen == theirs.seen
    assert data.asked["train"] == plain.asked["train"] == train
    assert data.asked["val"] == plain.asked["val"]
    assert runner.train_dataloader is data.newest


def test_epochs_keep_their_length(tmp_path):
    keys = config(Steady, str(tmp_path), datamodule=Curriculum(grows=True))
    runner = Runner.from_cfg(keys, trainer={"reload_dataloaders_every_n_epochs": 1})
    with pytest.raises(ArgumentError, match=r"returned 7 batches, and 6 before → the epochs of a"):
        runner.train()
