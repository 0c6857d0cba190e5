"""What mm2pl, real MMEngine and a plain Trainer wrote, the others continue to the last bit.

Without dropout and augmentation, since MMEngine restores no random state.
"""

from __future__ import annotations

import copy
import functools
import importlib
from typing import Any

import lightning.pytorch as pl
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

import tests.scenarios
from mm2pl.checkpoint.format import kind
from mm2pl.dataset import DefaultSampler
from mm2pl.lightning import MMLightningModule
from tests.scenarios import Points, Scenario, hexed, models, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
ADAM = {"type": "AdamW", "lr": 0.01, "weight_decay": 0.05}
WARMUP = {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "begin": 0, "end": 12}
LOADER = {
    "batch_size": 8,
    "num_workers": 0,
    "dataset": Points(),
    "collate_fn": {"type": "default_collate"},
}
ITERS = {
    "train_cfg": {"by_epoch": False, "max_iters": 23, "val_interval": 7},
    "sampler": {"type": "InfiniteSampler", "shuffle": True},
}


def saving(by_epoch: bool, interval: int) -> dict[str, Any]:
    return {"checkpoint": {"type": "CheckpointHook", "by_epoch": by_epoch, "interval": interval}}


RUNS: dict[str, tuple[Scenario, list[str]]] = {
    "epochs": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            param_scheduler=[
                WARMUP,
                {"type": "MultiStepLR", "milestones": [1, 2], "by_epoch": True},
            ],
            default_hooks=saving(True, 1),
        ),
        ["epoch_1.pth", "epoch_2.pth"],
    ),
    "adam, groups, clipping, accumulation": (
        Scenario(
            optim_wrapper={
                "optimizer": ADAM,
                "paramwise_cfg": {
                    "norm_decay_mult": 0.0,
                    "custom_keys": {"net.3": {"lr_mult": 0.1}},
                },
                "clip_grad": {"max_norm": 0.5},
                "accumulative_counts": 3,
            },
            param_scheduler={
                "type": "CosineAnnealingLR",
                "by_epoch": True,
                "convert_to_iter_based": True,
            },
            default_hooks=saving(True, 1),
        ),
        ["epoch_1.pth", "epoch_2.pth"],
    ),
    "iterations": (
        Scenario(
            optim_wrapper={"optimizer": ADAM},
            param_scheduler={"type": "PolyLR", "by_epoch": False, "power": 0.9},
            default_hooks=saving(False, 6),
            **ITERS,
        ),
        ["iter_6.pth", "iter_18.pth"],
    ),
    "average of the weights": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            custom_hooks=[{"type": "EMAHook", "momentum": 0.05, "begin_iter": 4}],
            default_hooks=saving(True, 1),
        ),
        ["epoch_1.pth", "epoch_2.pth"],
    ),
    "one cycle": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            param_scheduler={
                "type": "OneCycleLR",
                "by_epoch": False,
                "eta_max": 0.1,
                "total_steps": 27,
            },
            default_hooks=saving(True, 1),
        ),
        ["epoch_2.pth"],
    ),
}


@pytest.fixture(autouse=True)
def no_dropout(monkeypatch):
    def network() -> nn.Sequential:
        return nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

    monkeypatch.setattr(tests.scenarios, "network", network)


@pytest.fixture
def trusting(monkeypatch):
    """What users of MMEngine 0.10.7 do to make it load any checkpoint on torch >= 2.6."""
    monkeypatch.setattr(torch, "load", functools.partial(torch.load, weights_only=False))


def run(package: str, scenario: Scenario, work_dir: Any, **options: Any) -> dict[str, Any]:
    scenario = copy.deepcopy(scenario)
    scenario.options = {"train_dataloader": {**LOADER, "sampler": scenario.sampler}, **options}
    return record(package, scenario, str(work_dir))


def assert_continues(got: dict[str, Any], whole: dict[str, Any], done: int) -> None:
    """Compare all iterations after ``done``, and the weights at the end."""
    assert len(got["loss"]) == len(whole["loss"]) - done
    for key in ("place", "lr", "momentum", "loss"):
        assert got[key] == whole[key][done:], key
    assert got["metrics"][-1] == whole["metrics"][-1]
    assert got["weights"].keys() == whole["weights"].keys()
    assert all(torch.equal(v, whole["weights"][k]) for k, v in got["weights"].items())


@pytest.mark.parametrize("name", RUNS)
@pytest.mark.parametrize(("writer", "reader"), [("mm2pl", "mmengine"), ("mmengine", "mm2pl")])
def test_the_other_one_continues(tmp_path, trusting, writer, reader, name):
    pytest.importorskip("mmengine")
    scenario, files = RUNS[name]
    whole = run(writer, scenario, tmp_path / "whole")
    for file in files:
        path = tmp_path / "whole" / file
        done = torch.load(path)["meta"]["iter"]
        got = run(reader, scenario, tmp_path / file, load_from=str(path), resume=True)
        assert_continues(got, whole, done)


@pytest.mark.parametrize("name", ["epochs", "average of the weights"])
def test_mmengine_tests_what_was_written_here(tmp_path, trusting, name):
    """Best files hold weights only; both worlds compute the same metrics from them."""
    pytest.importorskip("mmengine")
    scenario = copy.deepcopy(RUNS[name][0])
    scenario.default_hooks = {
        "checkpoint": {"type": "CheckpointHook", "save_best": "accuracy", "rule": "greater"}
    }
    run("mm2pl", scenario, tmp_path / "whole")
    (best,) = (tmp_path / "whole").glob("best_accuracy_*.pth")
    assert kind(torch.load(best)) == "mm2pl"
    results = {}
    for package in ("mmengine", "mm2pl"):
        metric = importlib.import_module("tests.scenarios").accuracy(package)
        evaluation = {
            "test_dataloader": {**LOADER, "sampler": {"type": "DefaultSampler", "shuffle": False}},
            "test_evaluator": {"type": metric},
            "test_cfg": {},
        }
        runner = tests.scenarios.build(
            package,
            scenario,
            str(tmp_path / package),
            {k: [] for k in ("loss", "lr", "momentum", "place", "metrics", "validated_at")},
            load_from=str(best),
            **evaluation,
        )
        results[package] = runner.test()["accuracy"]
    assert results["mm2pl"] == results["mmengine"]


# A Trainer that somebody else made


class Losses(pl.Callback):
    """Write down loss and learning rate of each iteration; save after each epoch's last batch if asked to."""

    def __init__(self, folder: Any = None) -> None:
        self.folder = folder
        self.book: dict[str, list] = {"loss": [], "lr": []}

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        self.book["lr"].append(hexed([g["lr"] for g in trainer.optimizers[0].param_groups]))

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.book["loss"].append(float(outputs["loss"]).hex())

    def on_train_epoch_end(self, trainer, module):
        if self.folder:
            trainer.save_checkpoint(self.folder / f"{trainer.current_epoch + 1}.ckpt")


def train_with_lightning(scenario, tmp_path, ckpt_path=None, folder=None):
    """Train the scenario's model in a plain Trainer, with automatic optimization."""
    torch.manual_seed(5)
    module = MMLightningModule(
        models("mm2pl")["plain"](), dict(scenario.optim_wrapper), scenario.param_scheduler
    )
    sampler = DefaultSampler(Points(), shuffle=True, seed=5)
    recorder = Losses(folder)
    trainer = pl.Trainer(
        max_epochs=3,
        callbacks=[recorder],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        accelerator="cpu",
        default_root_dir=tmp_path,
    )
    trainer.fit(module, DataLoader(Points(), batch_size=8, sampler=sampler), ckpt_path=ckpt_path)
    weights = {k: v.clone() for k, v in module.model.state_dict().items()}
    return {**recorder.book, "weights": weights}


@pytest.mark.parametrize("writer", ["mm2pl", "mmengine"])
def test_a_plain_trainer_continues(tmp_path, trusting, writer):
    """A periodic file of ours is a Lightning checkpoint; MMEngine's becomes one by ``convert_checkpoint``."""
    if writer == "mmengine":
        pytest.importorskip("mmengine")
    scenario, files = RUNS["epochs"]
    whole = run(writer, scenario, tmp_path / "whole")
    for file in files:
        path = tmp_path / "whole" / file
        done = torch.load(path)["meta"]["iter"]
        if writer == "mmengine":
            from mm2pl.checkpoint.format import convert_checkpoint

            convert_checkpoint(str(path), str(tmp_path / "converted.ckpt"))
            path = tmp_path / "converted.ckpt"
        got = train_with_lightning(scenario, tmp_path, str(path))
        assert got["loss"] == [step["loss"] for step in whole["loss"][done:]]
        assert all(torch.equal(v, whole["weights"][k]) for k, v in got["weights"].items())


@pytest.mark.parametrize("reader", ["mm2pl", "mmengine", "lightning"])
def test_what_a_plain_trainer_wrote_is_continued(tmp_path, trusting, reader):
    if reader == "mmengine":
        pytest.importorskip("mmengine")
    scenario, _ = RUNS["epochs"]
    whole = train_with_lightning(scenario, tmp_path, folder=tmp_path)
    for epoch in (1, 2):
        path = tmp_path / f"{epoch}.ckpt"
        if reader == "lightning":
            got = train_with_lightning(scenario, tmp_path, str(path))
            losses = got["loss"]
        else:
            got = run(reader, scenario, tmp_path / str(epoch), load_from=str(path), resume=True)
            losses = [step["loss"] for step in got["loss"]]
        assert losses == whole["loss"][epoch * 9 :]
        assert all(torch.equal(v, whole["weights"][k]) for k, v in got["weights"].items())


# A run that goes on with another config


STEPS = {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.3, "by_epoch": True}
EXPONENT = {"type": "ExponentialLR", "gamma": 0.8, "by_epoch": True}
COSINE = {"type": "CosineAnnealingLR", "by_epoch": True, "convert_to_iter_based": True}
LONGER = {"train_cfg": {"by_epoch": True, "max_epochs": 4, "val_interval": 1}}
OTHER_RATES = {"type": "SGD", "lr": 0.7, "momentum": 0.5, "weight_decay": 0.3}

CHANGES: dict[str, tuple[Any, dict[str, Any], dict[str, Any]]] = {
    # The schedules of the file, what changes in the config, and the arguments of `resume`.
    "milestones and gamma": (STEPS, {"param_scheduler": {**STEPS, "gamma": 0.9}}, {}),
    "rates": (STEPS, {"optim_wrapper": {"optimizer": OTHER_RATES}}, {}),
    "longer": ([WARMUP, STEPS], LONGER, {}),
    "longer cosine": (COSINE, LONGER, {}),
    "accumulation": (STEPS, {"optim_wrapper": {"optimizer": SGD, "accumulative_counts": 2}}, {}),
    "schedules anew": ([WARMUP, EXPONENT], {}, {"resume_param_scheduler": False}),
    "other schedules, anew": (
        [WARMUP, EXPONENT],
        {"param_scheduler": COSINE, **LONGER},
        {"resume_param_scheduler": False},
    ),
    "optimizer anew": (
        [WARMUP, STEPS],
        {"optim_wrapper": {"optimizer": OTHER_RATES}},
        {"resume_optimizer": False},
    ),
    "another optimizer, anew": (
        EXPONENT,
        {"optim_wrapper": {"optimizer": ADAM}},
        {"resume_optimizer": False},
    ),
    "both anew": (
        EXPONENT,
        {"optim_wrapper": {"optimizer": ADAM}, "param_scheduler": STEPS},
        {"resume_optimizer": False, "resume_param_scheduler": False},
    ),
}


def steered(package: str, options: dict[str, Any]) -> Any:
    """Return a Runner that resumes with these options wherever MMEngine calls ``resume``."""

    class Steered(importlib.import_module(f"{package}.runner").Runner):  # type: ignore[misc]
        def resume(self, filename: str, **_: Any) -> None:
            super().resume(filename, **options)

    return Steered


@pytest.mark.parametrize("writer", ["mm2pl", "mmengine"])
@pytest.mark.parametrize(("schedules", "change", "options"), CHANGES.values(), ids=CHANGES)
def test_another_config_goes_on_as_in_mmengine(
    tmp_path, trusting, writer, schedules, change, options
):
    pytest.importorskip("mmengine")
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, param_scheduler=schedules)
    scenario.default_hooks = saving(True, 1)
    run(writer, scenario, tmp_path / "whole")
    path = str(tmp_path / "whole" / "epoch_2.pth")
    for name, value in change.items():
        setattr(scenario, name, value)
    ours, theirs = (
        run(
            package,
            scenario,
            tmp_path / package,
            load_from=path,
            resume=True,
            runner_class=steered(package, options),
        )
        for package in ("mm2pl", "mmengine")
    )
    # mm2pl makes up for the validation that was still to come when its own file was written.
    assert_continues(ours, theirs, 0)


WEIGHTS = {
    "one missing": lambda weights: weights.pop("net.0.bias"),
    "all but the last layer": lambda weights: [weights.pop(k) for k in [*weights] if "3" not in k],
    "no num_batches_tracked": lambda weights: weights.pop("net.1.num_batches_tracked"),
    "preprocessor of older files": lambda weights: weights.update(
        {"data_preprocessor.mean": torch.zeros(3, 1, 1)}
    ),
    "prefix of DDP": lambda weights: [
        weights.update({f"module.{name}": weights.pop(name)}) for name in [*weights]
    ],
}


@pytest.mark.parametrize("change", WEIGHTS.values(), ids=WEIGHTS)
def test_other_weights_go_on_as_in_mmengine(tmp_path, trusting, change):
    pytest.importorskip("mmengine")
    scenario, _ = RUNS["epochs"]
    run("mmengine", scenario, tmp_path / "whole")
    path = str(tmp_path / "whole" / "epoch_1.pth")
    file = torch.load(path)
    change(file["state_dict"])
    torch.save(file, path)
    ours, theirs = (
        run(package, scenario, tmp_path / package, load_from=path, resume=True)
        for package in ("mm2pl", "mmengine")
    )
    tests.scenarios.assert_equal(ours, theirs)


# An evaluation before the training that goes on


def evaluated_first(package: str, folder: Any, path: str, way: str, verb: str) -> Any:
    """Resume, evaluate and train; return where, at which rates and with which losses, and the files.

    Without schedules: MMEngine 0.10.7 builds them here after it has loaded the optimizer, and so changes its rates.
    """
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1))
    scenario.options = {"train_dataloader": {**LOADER, "sampler": scenario.sampler}}
    evaluation = {"test_cfg": {}, "test_evaluator": {"type": tests.scenarios.accuracy(package)}}
    evaluation["test_dataloader"] = {**LOADER, "sampler": {"type": "DefaultSampler"}}
    asked = {"load_from": path, "resume": True} if way == "config" else {}
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    book: dict[str, list[Any]] = {key: [] for key in keys}
    runner = tests.scenarios.build(package, scenario, str(folder), book, **asked, **evaluation)
    if way == "method":
        runner.resume(path)
    getattr(runner, verb)()
    runner.train()
    files = sorted(file.name for file in folder.glob("*.pth"))
    weights = {name: value.tolist() for name, value in runner.model.state_dict().items()}
    return [book[key] for key in ("place", "lr", "loss")], files, weights


@pytest.mark.parametrize("verb", ["val", "test"])
@pytest.mark.parametrize("way", ["config", "method"])
def test_an_evaluation_does_not_cancel_a_resume(tmp_path, trusting, way, verb):
    pytest.importorskip("mmengine")
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1))
    run("mmengine", scenario, tmp_path / "whole")
    path = str(tmp_path / "whole" / "epoch_2.pth")
    ours, theirs = (
        evaluated_first(package, tmp_path / package, path, way, verb)
        for package in ("mm2pl", "mmengine")
    )
    assert ours == theirs
    assert ours[1] == ["epoch_3.pth"]


# A model that keeps weights out of its files


def keeping_out(package: str, way: str) -> Any:
    """Return a class whose files have the last layer alone."""

    class Adapters(models(package)["plain"]):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            if way == "hook":
                self._register_state_dict_hook(self.keep_out)

        @staticmethod
        def keep_out(model: Any, state: Any, prefix: str, metadata: Any) -> None:
            for name in [name for name in state if name.startswith(("net.0", "net.1"))]:
                del state[name]

        def state_dict(self, *args: Any, **kwargs: Any) -> Any:
            state = super().state_dict(*args, **kwargs)
            if way == "hook":
                return state
            return type(state)((name, each) for name, each in state.items() if "net.3" in name)

    return Adapters


@pytest.mark.parametrize("resume", [False, True], ids=["load", "resume"])
@pytest.mark.parametrize("way", ["new dict", "hook"])
def test_weights_that_a_model_keeps_out_stay_out(tmp_path, trusting, way, resume):
    pytest.importorskip("mmengine")
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1))
    found = []
    for package in ("mm2pl", "mmengine"):
        torch.manual_seed(3)
        wrote, reads = keeping_out(package, way)(), keeping_out(package, way)()
        before = reads.net[0].weight.detach().clone()
        run(package, scenario, tmp_path / package / "wrote", model=wrote)
        path = str(tmp_path / package / "wrote" / "epoch_3.pth")
        stored = torch.load(path)["state_dict"]
        folder = tmp_path / package / "reads"
        options = {"model": reads, "load_from": path, "resume": resume}
        got = run(package, scenario, folder, **options)
        assert resume == torch.equal(reads.net[0].weight, before)  # nothing is left to train
        weights = {name: value.tolist() for name, value in reads.named_parameters()}
        found.append(({k: v.tolist() for k, v in stored.items()}, got["loss"], weights))
    assert found[0] == found[1]
    assert all("net.3" in name for name in found[0][0])
