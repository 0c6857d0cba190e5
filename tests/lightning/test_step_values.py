"""What a step returns, as callbacks, progress bars and loggers of a user's own Trainer see it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import ModelCheckpoint, TQDMProgressBar
from lightning.pytorch.loggers import CSVLogger

from mm2pl.lightning import MMLightningModule
from tests.bridges import SGD, loader, module, trainer
from tests.lightning.test_no_sync import COPIES, Reads
from tests.scenarios import models

pytestmark = pytest.mark.filterwarnings(
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


class ByHand(LightningModule):
    """The same model and optimizer, in the words of Lightning's manual."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.model: Any = models("mm2pl")["plain"]()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        data = self.model.data_preprocessor(batch, True)
        loss, log_vars = self.model.parse_losses(self.model._run_forward(data, mode="loss"))
        self.log_dict({k: v for k, v in log_vars.items() if v.numel() == 1}, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Seen(Callback):
    """Note what a callback finds after each batch, at the end of each epoch, and after the training."""

    def __init__(self, where: str = "callback_metrics") -> None:
        self.where = where
        self.values: list[dict[str, float]] = []

    def note(self, trainer: Any, *_: Any) -> None:
        self.values.append({k: float(v) for k, v in getattr(trainer, self.where).items()})

    on_train_epoch_end = on_train_end = note

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        self.note(trainer)


def seen(made: Any, where: str, **kwargs: Any) -> list[dict[str, float]]:
    callback = Seen(where)
    run = trainer(callbacks=[callback], **kwargs)
    run.fit(made, loader())
    callback.note(run)
    assert len(callback.values) == 2 * (8 + 1) + 2
    return callback.values


@pytest.mark.parametrize("every", [1, 3, 50])
def test_callbacks_see_each_steps_own_values(every: int) -> None:
    ours = seen(module(), "callback_metrics", log_every_n_steps=every)
    assert ours == seen(ByHand(), "callback_metrics")
    assert len({values["loss"] for values in ours}) == 16


def test_a_bar_that_is_drawn_sees_them_too() -> None:
    class Drawn(TQDMProgressBar):
        def get_metrics(self, trainer: Any, pl_module: Any) -> Any:
            shown = super().get_metrics(trainer, pl_module)
            drawn.append((trainer.global_step, shown["loss"]))
            return shown

    drawn: list[tuple[int, float]] = []
    losses = [v["loss"] for v in seen(module(), "callback_metrics")[:8]]
    bar = Drawn(refresh_rate=3)
    trainer(max_epochs=1, callbacks=[bar], enable_progress_bar=True).fit(module(), loader())
    assert drawn == [(n, losses[n - 1]) for n in (3, 6, 8, 8)]


def test_files_are_named_after_their_own_step(tmp_path: Path) -> None:
    def names(made: Any, folder: Path) -> set[str]:
        files = ModelCheckpoint(
            folder, filename="{step}-{loss:.6f}", every_n_train_steps=3, save_top_k=-1
        )
        trainer(callbacks=[files], enable_checkpointing=True).fit(made, loader())
        return {path.name for path in folder.iterdir()}

    ours = names(module(), tmp_path / "ours")
    assert ours == names(ByHand(), tmp_path / "by hand")
    assert len(ours) == 5


def test_loggers_get_them_at_their_interval(tmp_path: Path) -> None:
    def rows(made: Any, name: str) -> list[dict[str, str]]:
        logger = CSVLogger(tmp_path, name)
        trainer(logger=logger, log_every_n_steps=3).fit(made, loader())
        return list(csv.DictReader(Path(logger.log_dir, "metrics.csv").read_text().splitlines()))

    ours = rows(module(), "ours")
    assert ours == rows(ByHand(), "by hand")
    assert [row["step"] for row in ours] == ["2", "5", "8", "11", "14"]


class Mean(MMLightningModule):
    """Logs the loss itself, as the mean of an epoch, and a number of its own."""

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        self.log("loss", outputs["loss"], on_step=False, on_epoch=True)
        return {**outputs, "batch": batch_idx, "one": torch.ones(1), "many": torch.ones(2)}


def test_what_a_subclass_logs_itself_is_left_to_lightning() -> None:
    values = seen(Mean(models("mm2pl")["plain"](), {"optimizer": SGD}), "callback_metrics")
    assert ["loss" in each for each in values] == [False] * 8 + [True] * 12
    assert len({each.get("loss") for each in values}) == 3
    assert [each["batch"] for each in values[:8]] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert (values[0]["one"], "many" in values[0]) == (1, False)


def test_no_value_is_read_between_two_log_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.Tensor, "is_cpu", False, raising=False)
    reads = Reads()
    for name in COPIES:
        monkeypatch.setattr(torch.Tensor, name, reads.counted(getattr(torch.Tensor, name)))
    after: list[int] = []

    class Watch(Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            after.append(reads.count)

    bar = TQDMProgressBar(refresh_rate=5)
    run = trainer(max_epochs=1, callbacks=[Watch(), bar], enable_progress_bar=True)
    with reads:
        run.fit(module(), loader(128))
    read = [number for number, count in enumerate(map(int.__sub__, after[1:], after), 1) if count]
    assert read == [5, 10, 15]
