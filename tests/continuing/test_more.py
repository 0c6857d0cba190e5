"""Further ways to go on: what is not a cell of the matrix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import BackboneFinetuning, EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.tuner import Tuner

from mm2pl.hooks import EMAHook
from mm2pl.lightning import MMDataModule, MMLightningModule
from tests.bridges import loader, module, trainer
from tests.continuing.cover import Cell
from tests.continuing.judge import Server, newest
from tests.continuing.runs import Part, Seeds
from tests.scenarios import Points, accuracy

pytestmark = pytest.mark.filterwarnings("ignore")

STEPS = {"type": "StepLR", "by_epoch": True, "step_size": 1, "gamma": 0.5}


def judged(**options: Any) -> MMLightningModule:
    return module(val_evaluator={"type": accuracy("mm2pl")}, param_scheduler=STEPS, **options)


def saving(folder: Path, *callbacks: Callback, **flags: Any) -> Trainer:
    keep = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    return trainer(enable_checkpointing=True, callbacks=[Seeds(), *callbacks, keep], **flags)


def same_weights(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][key], states[1][key]) for key in states[1])


AVERAGES = {"EMAHook": lambda: EMAHook(momentum=0.1), "Lightning": lambda: EMAWeightAveraging()}


@pytest.mark.parametrize("kind", AVERAGES)
def test_the_average_is_validated_from_a_file(tmp_path: Path, kind: str) -> None:
    one = judged()
    fit = saving(tmp_path, AVERAGES[kind](), max_epochs=2)
    fit.fit(one, loader(), loader(30))
    seen = fit.callback_metrics["accuracy"]
    file = tmp_path / "epoch=1.ckpt"
    (found,) = trainer().validate(judged(), loader(30), ckpt_path=str(file), verbose=False)
    assert found["accuracy"] == pytest.approx(seen.item())


def rest_is_equal(folder: Path, make: Any, fit: Any) -> bool:
    """Train three epochs, then the last two again from the first's file; return whether the weights are equal."""
    whole = make()
    fit(saving(folder / "whole", max_epochs=3), whole, None)
    again = make()
    fit(saving(folder / "again", max_epochs=3), again, str(folder / "whole" / "epoch=0.ckpt"))
    return same_weights(again, whole)


def test_reloaded_loaders(tmp_path: Path) -> None:
    def fit(_: Trainer, one: MMLightningModule, file: str | None) -> None:
        train = {"batch_size": 8, "dataset": Points(), "sampler": {"type": "DefaultSampler"}}
        data = MMDataModule({**train, "collate_fn": {"type": "default_collate"}}, seed=1)
        folder = tmp_path / ("whole" if file is None else "again")
        saving(folder, max_epochs=3, reload_dataloaders_every_n_epochs=1).fit(
            one, datamodule=data, ckpt_path=file
        )

    assert rest_is_equal(tmp_path, judged, fit)


def test_the_tuner_before_a_fit(tmp_path: Path) -> None:
    def fit(given: Trainer, one: MMLightningModule, file: str | None) -> None:
        if file is None:
            Tuner(given).lr_find(one, loader(640), num_training=20)
        else:
            one.lr = 1e-5  # the file's rate is another
        given.fit(one, loader(), ckpt_path=file)

    assert rest_is_equal(tmp_path, judged, fit)


class Finetuned(MMLightningModule):
    @property
    def backbone(self) -> torch.nn.Module:
        return self.model.net[0]


@pytest.mark.parametrize("unfreeze", [1, 2])
def test_a_backbone_that_is_unfrozen(tmp_path: Path, unfreeze: int) -> None:
    weights = []
    for file in (None, str(tmp_path / "whole" / "epoch=0.ckpt")):
        plain = module()
        one = Finetuned(plain.model, optim_wrapper=plain.optim_wrapper)
        folder = tmp_path / ("again" if file else "whole")
        thaw = BackboneFinetuning(unfreeze, backbone_initial_lr=0.01)
        saving(folder, thaw, max_epochs=3).fit(one, loader(), ckpt_path=file)
        weights.append(one)
    assert same_weights(*weights)


def test_a_trainer_fits_again_and_its_file_goes_on(tmp_path: Path) -> None:
    one = judged()
    twice = saving(tmp_path / "twice", max_epochs=1)
    twice.fit(one, loader())
    twice.fit_loop.max_epochs = 2
    twice.fit(one, loader())
    other = judged()
    saving(tmp_path / "once", max_epochs=2).fit(other, loader())
    assert same_weights(one, other)
    for each, folder in ((one, "twice"), (other, "once")):
        file = tmp_path / folder / "epoch=1.ckpt"
        saving(tmp_path / f"{folder}-on", max_epochs=3).fit(each, loader(), ckpt_path=str(file))
    assert same_weights(one, other)


@pytest.mark.matrix
@pytest.mark.parametrize("numbers", [("2", "1"), ("1", "2")], ids=["2 to 1", "1 to 2"])
def test_another_number_of_processes_goes_on_and_says_so(
    tmp_path: Path, server: Server, numbers: tuple[str, str]
) -> None:
    first = Cell("by hand", "epoch end", "same", "plain", "config by epoch", "0", numbers[0])
    stopped = Part(first, "stopped", str(tmp_path / "stopped"))
    server.train(stopped)
    file = str(newest(tmp_path / "stopped"))
    second = first._replace(processes=numbers[1])
    server.train(Part(second, "continued", str(tmp_path / "on"), file))
    seen = torch.load(tmp_path / "on" / "continued_0.pt", weights_only=True)
    assert sorted(seen["steps"])[0] == 18
    log = (tmp_path / "on").rglob("*.log")
    assert any("process" in path.read_text() for path in log)
