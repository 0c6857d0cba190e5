"""A model that keeps weights out of its ``state_dict()`` keeps them out of files, as MMEngine saves it."""

from __future__ import annotations

import lightning.pytorch as pl
import pytest
import torch
from torch.utils.data import DataLoader

from mm2pl.checkpoint.fitting import take_weights
from mm2pl.lightning import MMLightningModule
from tests.scenarios import Points, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
Plain = models("mm2pl")["plain"]


class Adapters(Plain):
    """Return a new dict with the head alone."""

    def state_dict(self, *args, **kwargs):
        whole = super().state_dict(*args, **kwargs)
        return type(whole)((name, value) for name, value in whole.items() if "net.4" in name)


class Hooked(Plain):
    """Leave the first layer out, by a hook that knows the names of the model."""

    def __init__(self):
        super().__init__()
        self._register_state_dict_hook(self.keep_out)

    @staticmethod
    def keep_out(model, state_dict, prefix, metadata):
        for name in [name for name in state_dict if name.startswith("net.0")]:
            del state_dict[name]


class Added(Plain):
    def state_dict(self, *args, **kwargs):
        return {**super().state_dict(*args, **kwargs), "table": torch.ones(2)}


class Around(MMLightningModule):
    """Has a weight of its own, and keeps one of the model's out of its files."""

    def __init__(self, model):
        super().__init__(model, {"optimizer": {"type": "SGD", "lr": 0.05}})
        self.own = torch.nn.Parameter(torch.ones(3))
        self._register_state_dict_hook(self.keep_out)

    @staticmethod
    def keep_out(module, state_dict, prefix, metadata):
        state_dict.pop(f"{prefix}model.net.4.bias", None)


@pytest.mark.parametrize("model", [Plain, Adapters, Hooked, Added])
def test_the_module_has_the_weights_that_the_model_says(model):
    module = MMLightningModule(model())
    said = {f"model.{name}": value for name, value in module.model.state_dict().items()}
    found = module.state_dict()
    assert list(found) == list(said)
    assert all(torch.equal(found[name], value) for name, value in said.items())
    kept = module.state_dict(keep_vars=True)
    assert all(
        kept[f"model.{name}"] is each
        for name, each in module.model.named_parameters()
        if f"model.{name}" in said
    )


def test_a_module_around_has_the_last_word():
    assert list(Around(Adapters()).state_dict()) == ["own", "model.net.4.weight"]


def test_a_part_of_another_module_is_left_as_torch_has_it():
    whole = torch.nn.ModuleDict({"part": MMLightningModule(Adapters())})
    assert "part.model.net.0.weight" in whole.state_dict()


def fit(module, folder, epochs, ckpt_path=None):
    trainer = pl.Trainer(
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(Points(), batch_size=8), ckpt_path=ckpt_path)
    return trainer


@pytest.mark.parametrize("strict", [False, True])
def test_a_trainer_of_ones_own_takes_up_its_file(tmp_path, strict, recwarn):
    file = tmp_path / "adapters.ckpt"
    made = MMLightningModule(Adapters(), {"optimizer": {"type": "SGD", "lr": 0.05}})
    fit(made, tmp_path, 1).save_checkpoint(file)
    stored = torch.load(file, weights_only=True)["state_dict"]
    assert list(stored) == ["net.4.weight", "net.4.bias"]
    module = MMLightningModule(Adapters(), {"optimizer": {"type": "SGD", "lr": 0.05}})
    module.strict_loading = strict
    kept = module.model.net[0].weight.clone()
    trainer = fit(module, tmp_path, 1, str(file))
    assert torch.equal(module.model.net[4].weight, stored["net.4.weight"])
    assert torch.equal(module.model.net[0].weight, kept)
    assert trainer.current_epoch == 1


def test_what_a_model_keeps_out_is_not_missing():
    given = {name: torch.zeros_like(value) for name, value in Adapters().state_dict().items()}
    _, found = take_weights(Adapters(), given, strict=True)
    assert not found
