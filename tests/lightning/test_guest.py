"""LightningModules and LightningDataModules of a user's own, under an MMEngine-style config."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch import nn

from mm2pl.cli.main import main
from mm2pl.evaluator import BaseMetric
from mm2pl.hooks import Hook
from mm2pl.lightning import MMDataModule, MMLightningModule, configure_optimizers
from mm2pl.model import ExponentialMovingAverage
from mm2pl.run.points import STAGES
from mm2pl.runner import Runner
from tests.bridges import QUIET
from tests.lightning import guests
from tests.lightning.guests import Classifier, Data, Steps, Stepwise, TwoOptimizers
from tests.scenarios import Points, models, pair_constructor

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

KINDS = [Classifier, Stepwise, TwoOptimizers]
SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}


class Hits(BaseMetric):
    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(sample["hit"] for sample in data_samples)

    def compute_metrics(self, results: list) -> dict:
        return {"hits": 100 * sum(results) / len(results)}


def loaders() -> dict[str, Any]:
    common = {"batch_size": 8, "num_workers": 0, "collate_fn": {"type": "default_collate"}}
    return {
        f"{stage}_dataloader": {
            **common,
            "dataset": guests.points(size),
            "sampler": {"type": "DefaultSampler", "shuffle": stage == "train"},
        }
        for stage, size in (("train", 40), ("val", 16))
    }


def config(model: Any = Classifier, work_dir: Any = "w", **keys: Any) -> dict[str, Any]:
    """Return a run of three epochs of five batches."""
    made = {
        "model": {"type": model, "width": 6} if isinstance(model, type) else model,
        "datamodule": {"type": Data},
        "train_cfg": {"by_epoch": True, "max_epochs": 3},
        "val_cfg": {},
        "work_dir": str(work_dir),
        "randomness": {"seed": 3},
        "log_level": "ERROR",
        **keys,
    }
    return {key: value for key, value in made.items() if value is not None}


def trained(*args: Any, **keys: Any) -> Runner:
    runner = Runner.from_cfg(config(*args, **keys))
    runner.train()
    return runner


def by_hand(kind: type, data: Any = None, **flags: Any) -> Any:
    seed_everything(3, verbose=False)
    module = kind(width=6)
    flags = {**QUIET, "max_epochs": 3, "num_sanity_val_steps": 0, **flags}
    Trainer(**flags).fit(module, datamodule=data or Data())
    return module


def assert_same_weights(module: nn.Module, expected: nn.Module) -> None:
    ours, theirs = module.state_dict(), expected.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["data module", "loaders"])
def test_a_guest_is_trained_as_by_hand(kind: type, given: str, tmp_path: Path) -> None:
    keys = {} if given == "data module" else {"datamodule": None, **loaders()}
    runner = trained(kind, tmp_path, **keys)
    expected = by_hand(kind, MMDataModule(**loaders(), seed=3) if keys else None)
    assert runner.model is runner.module is runner.trainer.lightning_module
    assert runner.model.losses == expected.losses
    assert len(runner.model.losses) == 15
    assert_same_weights(runner.model, expected)
    assert runner.optim_wrapper.get_lr().keys() == (
        {"optimizer_0.lr", "optimizer_1.lr"} if kind is TwoOptimizers else {"lr"}
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("given", ["data module", "loaders"])
def test_it_goes_on_inside_an_epoch_to_the_last_bit(kind: type, given: str, tmp_path: Path) -> None:
    keys: dict[str, Any] = {
        "default_hooks": {
            "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": 7}
        }
    }
    if given == "loaders":
        keys |= {"datamodule": None, **loaders()}
    whole = trained(kind, tmp_path / "whole", **copy.deepcopy(keys))
    file = tmp_path / "whole" / "iter_7.pth"
    resumed = trained(kind, tmp_path / "resumed", load_from=str(file), resume=True, **keys)
    assert resumed.model.losses == whole.model.losses[7:]
    assert_same_weights(resumed.model, whole.model)
    states, expected = (r.trainer.optimizers[0].state_dict() for r in (resumed, whole))
    assert states["param_groups"] == expected["param_groups"]


def test_files_have_the_guests_own_keys(tmp_path: Path) -> None:
    hook = {"type": "CheckpointHook", "save_best": ["loss_of_val", "hits"], "rule": "less"}
    runner = trained(
        work_dir=tmp_path, default_hooks={"checkpoint": hook}, val_evaluator={"type": Hits}
    )
    file = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert list(file["state_dict"]) == list(Classifier().state_dict())
    assert file["hyper_parameters"] == {"width": 6, "lr": 0.1, "dropout": 0.2}
    assert file["meta"]["iter"] == 15
    assert_same_weights(Classifier.load_from_checkpoint(tmp_path / "epoch_3.pth"), runner.model)
    best = [path.name.rsplit("_", 2)[0] for path in sorted(tmp_path.glob("best_*"))]
    assert best == ["best_hits", "best_loss_of_val"]
    # And from another run's file, by Lightning's own Trainer.
    by_hand_module = by_hand(Classifier)
    Trainer(**QUIET, max_epochs=1).validate(by_hand_module, Data(), str(tmp_path / "epoch_3.pth"))
    assert_same_weights(by_hand_module, runner.model)


def test_metrics_of_the_guest_and_of_the_evaluator_are_one(tmp_path: Path) -> None:
    seen: list[dict] = []

    class Record(Hook):
        def after_val_epoch(self, runner: Any, metrics: Any = None) -> None:
            seen.append(dict(metrics))

    runner = trained(
        work_dir=tmp_path,
        custom_hooks=[Record()],
        val_evaluator={"type": Hits},
        test_cfg={},
        test_evaluator={"type": Hits},
    )
    (expected,) = Trainer(**QUIET).validate(by_hand(Classifier), Data(), verbose=False)
    assert [set(metrics) for metrics in seen] == [{"loss_of_val", "hits"}] * 3
    assert seen[-1]["loss_of_val"] == expected["loss_of_val"]
    assert runner.val() == runner.test() == seen[-1]
    assert len(runner.trainer.predict(runner.module, runner.datamodule)) == 2


def test_the_log_has_what_steps_return_and_log_once(tmp_path: Path) -> None:
    hooks = {"logger": {"type": "LoggerHook", "interval": 5}}
    runner = trained(work_dir=tmp_path, default_hooks=hooks, val_evaluator={"type": Hits})
    text = next(tmp_path.rglob("scalars.json")).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    train, val = [x for x in lines if "iter" in x], [x for x in lines if "iter" not in x]
    assert [line["step"] for line in train] == [5, 10, 15]
    assert [line["step"] for line in val] == [1, 2, 3]
    assert set(train[0]) >= {"loss", "train_loss", "lr", "epoch", "time"}
    # MMEngine's log smooths a loss over its window of ten.
    values = [float.fromhex(loss) for loss in runner.model.losses[:5]]
    assert train[0]["loss"] == train[0]["train_loss"] == pytest.approx(sum(values) / 5, rel=1e-6)
    assert set(val[0]) >= {"loss_of_val", "hits"}


def test_an_average_of_the_guest_is_validated_and_saved(tmp_path: Path) -> None:
    ema = [{"type": "EMAHook", "momentum": 0.25}]
    runner = trained(work_dir=tmp_path, custom_hooks=ema)
    assert_same_weights(runner.model, by_hand(Classifier))

    class Average(Classifier):
        def on_train_start(self) -> None:
            self.average = [ExponentialMovingAverage(copy.deepcopy(self), momentum=0.25)]

        def on_train_batch_end(self, *args: Any) -> None:
            self.average[0].update_parameters(self)

    expected = by_hand(Average).average[0].module.state_dict()
    file = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert all(torch.equal(file["state_dict"][name], value) for name, value in expected.items())
    assert torch.equal(
        file["ema_state_dict"]["module.module.weight"], runner.model.state_dict()["module.weight"]
    )


def test_hooks_are_called_at_the_points_of_mmengine(tmp_path: Path) -> None:
    def recorder(book: list) -> Hook:
        def at(point: str) -> Any:
            def method(self: Any, runner: Any, *args: Any, **kwargs: Any) -> None:
                book.append((point, runner.epoch, runner.iter))

            return method

        names = {point for point in STAGES if "checkpoint" not in point}
        return type("Record", (Hook,), {point: at(point) for point in names})()

    ours, theirs = [], []
    trained(work_dir=tmp_path / "guest", custom_hooks=[recorder(ours)])
    data = {
        key: {**each, "dataset": Points(len(each["dataset"]))} for key, each in loaders().items()
    }
    trained(
        models("mm2pl")["plain"](),
        tmp_path / "model",
        custom_hooks=[recorder(theirs)],
        optim_wrapper={"optimizer": SGD},
        val_evaluator=[],
        datamodule=None,
        **data,
    )
    assert ours == theirs
    assert len(ours) > 60


SCHEDULES = [
    {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 4},
    {"type": "MultiStepLR", "milestones": [2], "by_epoch": True},
]


@pytest.mark.parametrize("kind", [Steps, Classifier])
def test_an_optim_wrapper_trains_in_the_place_of_configure_optimizers(
    kind: type, tmp_path: Path
) -> None:
    class ByHand(Steps):
        def configure_optimizers(self) -> Any:
            return configure_optimizers(self, {"optimizer": SGD}, SCHEDULES)

    runner = trained(
        kind,
        tmp_path,
        optim_wrapper={
            "optimizer": SGD,
            "clip_grad": {"max_norm": 0.05},
            "accumulative_counts": 5,
        },
        param_scheduler=SCHEDULES,
    )
    # Lightning steps at an epoch's end: a window that divides the epoch is MMEngine's too.
    expected = by_hand(ByHand, accumulate_grad_batches=5, gradient_clip_val=0.05)
    assert runner.model.losses == expected.losses
    assert_same_weights(runner.model, expected)
    assert runner.optim_wrapper.get_lr() == {"lr": [pytest.approx(0.01)]}
    assert "configure_optimizers" not in vars(runner.model)
    file = torch.load(tmp_path / "epoch_3.pth", weights_only=True)
    assert len(file["param_schedulers"]) == 2


def test_a_data_module_feeds_a_model_of_mmengines(tmp_path: Path) -> None:
    class Dicts(Data):
        def setup(self, stage: str) -> None:
            self.sets = {"train": Points(40), "val": Points(16)}

    keys = {"optim_wrapper": {"optimizer": SGD}, "val_evaluator": []}
    runner = trained(models("mm2pl")["plain"](), tmp_path, datamodule=Dicts(), **keys)
    assert runner.iter == 15
    assert isinstance(runner.datamodule, Dicts)
    assert isinstance(runner.module, MMLightningModule)
    assert "train_dataloader" not in vars(runner.datamodule)


CONFIG = """
model = dict(type="tests.lightning.guests.Classifier", width=6)
datamodule = dict(type="tests.lightning.guests.Data")
train_cfg = dict(by_epoch=True, max_epochs=3)
val_cfg = dict()
test_cfg = dict()
randomness = dict(seed=3)
"""


def test_the_command_line_trains_tests_and_predicts(tmp_path: Path, capsys: Any) -> None:
    file, out = tmp_path / "guest.py", tmp_path / "out.pkl"
    file.write_text(CONFIG)
    shared = [str(file), "--work-dir", str(tmp_path / "w")]
    assert main(["fit", *shared]) == 0
    weights = torch.load(tmp_path / "w" / "epoch_3.pth", weights_only=True)["state_dict"]
    expected = by_hand(Classifier)
    assert all(torch.equal(weights[name], v) for name, v in expected.state_dict().items())
    assert main(["test", *shared, "--ckpt_path", "last"]) == 0
    assert "loss_of_val: " in capsys.readouterr().out
    assert main(["predict", *shared, "--ckpt_path", "last", "--out", str(out)]) == 0
    assert out.stat().st_size > 0


@pytest.mark.parametrize("val_cfg", [None, {}], ids=["no val_cfg", "val_cfg"])
def test_a_validation_that_never_comes_is_told(val_cfg: Any, tmp_path: Path, capsys: Any) -> None:
    trained(Stepwise, tmp_path, val_cfg=val_cfg, log_level="WARNING")
    told = "Stepwise has a validation_step, and nothing validates: the config has no val_cfg"
    assert (told in capsys.readouterr().out) is (val_cfg is None)


@pytest.mark.parametrize("model", [Classifier, Steps], ids=["its optimizer", "an optim_wrapper"])
def test_a_check_finds_no_fault_in_a_sound_run(model: Any, tmp_path: Path) -> None:
    given = {"optim_wrapper": {"optimizer": SGD}} if model is Steps else {}
    report = Runner.from_cfg(config(model, tmp_path, **given)).check()
    assert [(f.severity, f.path, f.given) for f in report.faults] == [
        ("note", "val_cfg", model.__name__)
    ]


@pytest.mark.slow
def test_two_processes_train_as_by_hand(tmp_path: Path) -> None:
    root = Path(guests.__file__).parents[2]
    script = root / "tests" / "lightning" / "processes" / "guest_in_two.py"
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "process 0: 9 True True" in done.stdout
    assert "process 1: 9 True True" in done.stdout


class Silent(LightningModule):
    """Has no step at all."""


class Blind(LightningModule):
    """Has no step to validate with."""

    training_step = Classifier.training_step
    configure_optimizers = Classifier.configure_optimizers


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"model": nn.Linear(1, 1), "optim_wrapper": {"optimizer": SGD}, "val_evaluator": []},
         "Linear has neither train_step .* with a training_step"),
        ({"model": Silent()}, "train_cfg, and Silent no training_step"),
        ({"model": Steps(), "optim_wrapper": None}, "Steps has no configure_optimizers.* no optim_wrapper"),
        ({"model": MMLightningModule(nn.Identity())}, "give the model itself"),
        ({"model": Blind()}, "val_cfg, and Blind no validation_step"),
        ({"compile": True}, "→ torch.compile in its configure_model"),
        ({"auto_scale_lr": {"enable": True, "base_batch_size": 8}}, "that of Classifier.configure_optimizers"),
        ({"model": TwoOptimizers(), "optim_wrapper": {"optimizer": SGD, "clip_grad": {"max_norm": 1}}},
         "clip_grad=.*TwoOptimizers.automatic_optimization is False"),
        ({"model": TwoOptimizers(), "optim_wrapper": {"optimizer": SGD, "accumulative_counts": 2}},
         "accumulative_counts=2.*leave out the key"),
        ({"optim_wrapper": {"constructor": pair_constructor("mm2pl"), "model": {"optimizer": SGD},
                            "module": {"optimizer": SGD}}},
         "makes 2 optimizers .model, module..*automatic_optimization = False"),
        ({"datamodule": Classifier()}, "a LightningDataModule, or dict"),
        (loaders(), "datamodule=.*'train_dataloader', 'val_dataloader'. say too where the data come from"),
        ({"val_evaluator": {"type": Hits}, "model": type("NoList", (Classifier,), {
            "validation_step": lambda self, batch, i: None})()}, "step returned NoneType"),
    ],
)  # fmt: skip
def test_bad_input_is_answered_with_one_message(keys: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        trained(work_dir=tmp_path, **keys)
