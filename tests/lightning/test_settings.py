"""Nested overrides of a module's dicts in LightningCLI, its own or as classes named in the YAML."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonargparse
import pytest
import yaml
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI

from mm2pl.errors import ArgumentError
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.lightning.settings import previous_value

pytestmark = pytest.mark.filterwarnings("ignore:LightningCLI's args parameter is intended to run")

MODEL = {
    "model": {"type": "Plain"},
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}, "clip_grad": {"max_norm": 1}},
    "param_scheduler": [{"type": "MultiStepLR", "milestones": [1, 2]}, {"end": 5}],
}
DATA = {"train_dataloader": {"batch_size": 2, "sampler": {"shuffle": True}}}


class Parsing(LightningCLI):
    def instantiate_classes(self) -> None:
        """Parse only."""


def parsed(folder: Path, form: str, *options: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what a command line makes of the arguments of model and data."""
    content: dict[str, Any] = {"model": MODEL, "data": DATA}
    classes: tuple[Any, ...] = (MMLightningModule, MMDataModule)
    more: dict[str, Any] = {"run": False, "parser_kwargs": {"exit_on_error": False}}
    more["seed_everything_default"] = False
    if form != "of the class":
        content = {
            part: {"class_path": f"mm2pl.lightning.{kind.__name__}", "init_args": arguments}
            for (part, arguments), kind in zip(content.items(), classes, strict=True)
        }
        classes = (LightningModule, LightningDataModule)
        more.update(subclass_mode_model=True, subclass_mode_data=True)
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump(content))
    if form == "init_args":
        options = tuple(o.replace("--model.", "--model.init_args.") for o in options)
    config = Parsing(*classes, args=["--config", str(file), *options], **more).config
    model, data = (getattr(config[part], "init_args", config[part]) for part in ("model", "data"))
    return vars(model), vars(data)


FORMS = ["of the class", "class_path", "init_args"]
OVERRIDES: dict[str, tuple[str, Any]] = {
    "optim_wrapper.optimizer.lr=0.01": ("optim_wrapper", {"optimizer": {"type": "SGD", "lr": 0.01}}),
    "optim_wrapper.optimizer.lr=1e-3": ("optim_wrapper", {"optimizer": {"type": "SGD", "lr": 1e-3}}),
    "optim_wrapper.optimizer.betas=[0.9, 0.99]": (
        "optim_wrapper",
        {"optimizer": {"type": "SGD", "lr": 0.1, "betas": [0.9, 0.99]}},
    ),
    "optim_wrapper.clip_grad=null": ("optim_wrapper", {"clip_grad": None}),
    "optim_wrapper.optimizer.type=Adam": (
        "optim_wrapper",
        {"optimizer": {"type": "Adam", "lr": 0.1}},
    ),
    "optim_wrapper.paramwise_cfg.custom_keys.head.lr_mult=2": (
        "optim_wrapper",
        {"paramwise_cfg": {"custom_keys": {"head": {"lr_mult": 2}}}},
    ),
    "model.frozen=true": ("model", {"frozen": True}),
    "auto_scale_lr.base_batch_size=16": ("auto_scale_lr", {"base_batch_size": 16}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("option", OVERRIDES)
def test_one_entry_changes_and_the_others_stay(tmp_path: Path, form: str, option: str) -> None:
    argument, changed = OVERRIDES[option]
    model, _ = parsed(tmp_path, form, f"--model.{option}")
    assert model[argument] == {**MODEL.get(argument, {}), **changed}


@pytest.mark.parametrize("form", FORMS)
def test_several_and_in_lists(tmp_path: Path, form: str) -> None:
    model, data = parsed(
        tmp_path,
        form,
        *("--model.param_scheduler.1.end=7", "--model.param_scheduler.0.milestones.1=9"),
        *("--data.train_dataloader.batch_size", "4"),
        *("--data.train_dataloader.sampler.shuffle=false",),
    )
    assert model["param_scheduler"] == [{"type": "MultiStepLR", "milestones": [1, 9]}, {"end": 7}]
    assert data["train_dataloader"] == {"batch_size": 4, "sampler": {"shuffle": False}}


REFUSED = {
    "optim_wrapper.optimzer.lr=1": "'optimzer' → did you mean 'optimizer'",
    "optim_wrapper.optimizer.lrr=1": "'optimizer.lrr' → did you mean 'lr'",
    "optim_wrapper.optimizer.lr.x=1": "'optimizer.lr.x': 'optimizer.lr' is 0.1, which has no keys",
    "param_scheduler.2.end=1": "'2': a list of 2 → an index from 0 on",
    "param_scheduler.last=1": "'last': a list of 2 → an index from 0 on",
    "optim_wrappr.optimizer.lr=1": "optim_wrappr",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("option", "message"), REFUSED.items())
def test_what_leads_nowhere_is_refused(
    tmp_path: Path, form: str, option: str, message: str
) -> None:
    with pytest.raises(jsonargparse.ArgumentError, match=message):
        parsed(tmp_path, form, f"--model.{option}")


def test_an_object_stays_one(tmp_path: Path) -> None:
    spec = '{"class_path": "torch.nn.Linear", "init_args": {"in_features": 1, "out_features": 2}}'
    options = (f"--model.model={spec}", "--model.model.init_args.out_features=3")
    model, _ = parsed(tmp_path, "of the class", *options)
    assert model["model"].init_args.out_features == 3


def test_the_help_shows_the_arguments() -> None:
    # In a process of its own: jsonargparse's help imports every subclass that other tests have left behind.
    script = (
        "from mm2pl.lightning import *; from lightning.pytorch.cli import LightningCLI as CLI; "
    )
    script += "CLI(MMLightningModule, MMDataModule, args=['fit', '--help'])"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    said = " ".join(shown.stdout.split())
    assert shown.returncode == 0, shown.stderr
    assert "(type: Union[Settings, OptimWrapper, Optimizer, null], default: null" in said
    assert "(type: Union[Settings, DataLoader[Any], null], default: null" in said


def test_another_jsonargparse_is_told() -> None:
    with pytest.raises(ArgumentError, match=r"jsonargparse .* has no 'prev_val' → jsonargparse=="):
        previous_value()
