"""The same run under FlexibleRunner's signature."""

from __future__ import annotations

import pytest
import torch

from mm2pl.config import Config
from mm2pl.registry import RUNNERS
from mm2pl.runner import FlexibleRunner
from tests.scenarios import Points, models

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

LOADER = {
    "batch_size": 8,
    "dataset": Points(),
    "collate_fn": {"type": "default_collate"},
    "sampler": {"type": "DefaultSampler", "shuffle": True},
}
TRAINING = {
    "train_dataloader": LOADER,
    "train_cfg": {"by_epoch": True, "max_epochs": 2},
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.05}},
    "randomness": {"seed": 1},
    "log_level": "ERROR",
}


def config(tmp_path, **more):
    return Config(
        {"model": models("mm2pl")["plain"](), "work_dir": str(tmp_path), **TRAINING, **more}
    )


def test_it_is_built_by_its_name_trains_and_resumes(tmp_path):
    strategy = {"type": "SingleDeviceStrategy"}
    first = RUNNERS.build(config(tmp_path, runner_type="FlexibleRunner", strategy=strategy))
    assert type(first) is FlexibleRunner
    assert first._run.options["strategy"] == strategy
    first.train()
    path = str(tmp_path / "epoch_1.pth")
    second = FlexibleRunner.from_cfg(config(tmp_path / "again", resume=path))
    second.train()
    assert second.iter == first.iter == 18
    for name, value in first.model.state_dict().items():
        assert torch.equal(second.model.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"strategy": "ddp"}, TypeError, "strategy='ddp' → a dict"),
        ({"compile": "yes"}, TypeError, "compile should be a bool or dict, but got 'yes'"),
        ({"resume": "a", "load_from": "b"}, ValueError, "resume='a' and load_from='b'"),
    ],
    ids=["strategy", "compile", "resume"],
)
def test_arguments_that_are_refused(tmp_path, arguments, error, message):
    with pytest.raises(error, match=message):
        FlexibleRunner(models("mm2pl")["plain"](), work_dir=str(tmp_path), **TRAINING, **arguments)


def test_a_model_is_needed():
    with pytest.raises(KeyError, match="the config has no 'model'"):
        FlexibleRunner.from_cfg({"work_dir": "x"})
