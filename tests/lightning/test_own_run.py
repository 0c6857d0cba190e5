"""A run in a Trainer that its user has made, with ``RunCallback`` among the callbacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping

from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from tests.bridges import QUIET
from tests.scenarios import Points, accuracy, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def parts(folder: Path, train_cfg: dict[str, Any]) -> tuple[Any, Any, Any]:
    torch.manual_seed(3)
    loader = {"batch_size": 8, "num_workers": 0, "collate_fn": {"type": "default_collate"}}
    module = MMLightningModule(
        models("mm2pl")["plain"](),
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        val_evaluator={"type": accuracy("mm2pl")},
    )
    data = MMDataModule(
        train_dataloader={**loader, "dataset": Points(40), "sampler": {"type": "DefaultSampler"}},
        val_dataloader={**loader, "dataset": Points(16), "sampler": {"type": "DefaultSampler"}},
    )
    run = RunCallback(
        work_dir=str(folder),
        train_cfg=train_cfg,
        val_cfg={},
        randomness={"seed": 1},
        log_level="ERROR",
    )
    return module, data, run


@pytest.mark.parametrize(
    ("train_cfg", "length"),
    [
        ({"by_epoch": True, "max_epochs": 4, "val_interval": 2}, {"max_epochs": 4}),
        (
            {"by_epoch": False, "max_iters": 12, "val_interval": 4},
            {"max_epochs": 1, "limit_train_batches": 12},
        ),
    ],
    ids=["epochs", "iterations"],
)
def test_a_callback_in_front_looks_when_the_run_validates(
    tmp_path: Path, train_cfg: dict[str, Any], length: dict[str, Any]
) -> None:
    module, data, run = parts(tmp_path, train_cfg)
    stopping = EarlyStopping("accuracy", mode="max", patience=9)
    trainer = Trainer(
        **{**QUIET, **length, "enable_checkpointing": True}, callbacks=[stopping, run]
    )
    trainer.fit(module, datamodule=data)
    assert torch.isfinite(stopping.best_score)


def test_a_trainers_own_length_holds_and_a_second_fit_goes_on(tmp_path: Path) -> None:
    module, data, run = parts(tmp_path, {"by_epoch": True, "max_epochs": 7})
    trainer = Trainer(**{**QUIET, "enable_checkpointing": True}, max_epochs=2, callbacks=[run])
    trainer.fit(module, datamodule=data)
    assert (run.run.epoch, run.run.iter) == (2, 10)
    trainer.fit_loop.max_epochs = 3
    trainer.fit(module, datamodule=data)
    assert (run.run.epoch, run.run.iter) == (3, 15)


@pytest.mark.parametrize("other", ["module", "trainer"])
def test_another_module_or_trainer_is_another_run(tmp_path: Path, other: str) -> None:
    module, data, run = parts(tmp_path, {"by_epoch": True, "max_epochs": 1})
    flags = {**QUIET, "enable_checkpointing": True, "max_epochs": 1}
    trainer = Trainer(**flags, callbacks=[run])
    trainer.fit(module, datamodule=data)
    first = run.run
    if other == "module":
        module, data, _ = parts(tmp_path, {})
    else:
        trainer = Trainer(**flags, callbacks=[run])
    trainer.validate(module, datamodule=data, verbose=False)
    assert run.run is not first
    assert (run.run.trainer, run.run.module) == (trainer, module)
    assert module.eval_metrics.keys() == {"accuracy"}


class Plain(LightningModule):
    """Not one of ours."""

    def training_step(self, batch: Any, batch_idx: int) -> None: ...

    def configure_optimizers(self) -> None: ...


def test_other_modules_are_refused_with_what_to_do(tmp_path: Path) -> None:
    _, data, run = parts(tmp_path, {"by_epoch": True, "max_epochs": 1})
    trainer = Trainer(**{**QUIET, "enable_checkpointing": True}, max_epochs=1, callbacks=[run])
    with pytest.raises(TypeError, match=r"RunCallback with Plain and .* → a run needs an MMLightn"):
        trainer.fit(Plain(), datamodule=data)
