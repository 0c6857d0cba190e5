"""Whoever starts a run, and by whichever door, gets the same run: a Runner subclass, the plan, the sentences."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.cli import main
from tests.parity.surface_corpus import part, weights_of
from tests.scenarios import Points, accuracy, models

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("quick_runs"),
]
pytest.importorskip("mmengine")

LOADER = {
    "batch_size": 8,
    "num_workers": 0,
    "dataset": {"type": "RowPoints", "size": 30},
    "sampler": {"type": "DefaultSampler", "shuffle": True},
    "collate_fn": {"type": "default_collate"},
}
CONFIG: dict[str, Any] = {
    "model": {"type": "RowNet"},
    "train_dataloader": LOADER,
    "val_dataloader": {**LOADER, "sampler": {"type": "DefaultSampler", "shuffle": False}},
    "train_cfg": {"by_epoch": True, "max_epochs": 2},
    "val_cfg": {},
    "val_evaluator": {"type": "RowAccuracy"},
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
    "randomness": {"seed": 5},
    "default_scope": "mmengine",
}


@pytest.fixture(autouse=True)
def _registered() -> None:
    """Register the parts of ``CONFIG`` in both packages."""
    for package in ("mm2pl", "mmengine"):
        for root, name, cls in (
            ("MODELS", "RowNet", models(package)["plain"]),
            ("DATASETS", "RowPoints", Points),
            ("METRICS", "RowAccuracy", accuracy(package)),
        ):
            part(package, f"registry.{root}").register_module(name=name, module=cls, force=True)


def config(package: str, folder: Path, **more: Any) -> Any:
    """Return the package's Config of a file in ``folder``."""
    folder.mkdir(exist_ok=True)
    cls = part(package, "config.Config")
    cls({**CONFIG, "work_dir": str(folder / "work"), **more}).dump(str(folder / "row.py"))
    return cls.fromfile(str(folder / "row.py"))


def enter(door: str, package: str, folder: Path, **more: Any) -> None:
    """Train through one of the doors."""
    torch.manual_seed(11)
    cfg = config(package, folder, **more)
    if door == "Runner(…)":
        cls = part(package, "runner.Runner")
        known = inspect.signature(cls.__init__).parameters.keys() & cfg.keys()
        cls(**{name: cfg[name] for name in known}, cfg=cfg).train()
    elif door == "from_cfg":
        part(package, "runner.Runner").from_cfg(cfg).train()
    elif door == "RUNNERS.build":
        part(package, "registry.RUNNERS").build(cfg).train()
    elif door == "mm2pl fit":
        if main(["fit", str(folder / "row.py")]):
            raise SystemExit(2)
    else:
        assert main(["convert", str(folder / "row.py"), "-o", str(folder / "row.yaml")]) == 0
        if main(["fit", str(folder / "row.yaml")]):
            raise SystemExit(2)


# A Runner subclass, by every door


def own_runner(package: str, seen: dict[str, list]) -> type:
    """Register a Runner that notes what is called, freezes the head and takes any arguments."""
    base = part(package, "runner.Runner")

    class OwnRunner(base):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            seen["calls"].append("__init__")
            super().__init__(*args, **kwargs)

        @classmethod
        def from_cfg(cls, cfg: Any) -> Any:
            seen["calls"].append("from_cfg")
            return super().from_cfg(cfg)

        def build_model(self, model: Any) -> Any:
            seen["calls"].append("build_model")
            model = super().build_model(model)
            model.net[4].requires_grad_(False)
            return model

        def wrap_model(self, model_wrapper_cfg: Any, model: Any) -> Any:
            seen["calls"].append("wrap_model")
            return super().wrap_model(model_wrapper_cfg, model)

        def train(self) -> Any:
            seen["calls"].append("train")
            return super().train()

        def call_hook(self, fn_name: str, **kwargs: Any) -> None:
            seen["stages"].append((fn_name, sorted(kwargs)))
            super().call_hook(fn_name, **kwargs)

    part(package, "registry.RUNNERS").register_module(module=OwnRunner, force=True)
    return OwnRunner


@pytest.fixture(scope="module")
def own_runs(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return a function that trains with the own Runner, once for each door."""
    kept: dict[tuple[str, str], dict[str, Any]] = {}

    def get(door: str, package: str) -> dict[str, Any]:
        if (door, package) not in kept:
            folder = tmp_path_factory.mktemp("own")
            seen: dict[str, Any] = {"calls": [], "stages": []}
            own_runner(package, seen)
            enter(door, package, folder, runner_type="OwnRunner")
            seen["weights"] = weights_of(folder / "work" / "epoch_2.pth")
            kept[door, package] = seen
        return kept[door, package]

    return get


@pytest.mark.parametrize("door", ["RUNNERS.build", "mm2pl fit", "mm2pl fit YAML"])
class TestOwnRunner:
    def test_its_methods_are_called(self, door: str, own_runs: Any) -> None:
        theirs = own_runs("RUNNERS.build", "mmengine")["calls"]
        assert theirs == ["from_cfg", "__init__", "build_model", "wrap_model", "train"]
        assert own_runs(door, "mm2pl")["calls"] == theirs

    def test_its_call_hook_sees_every_stage(self, door: str, own_runs: Any) -> None:
        theirs = own_runs("RUNNERS.build", "mmengine")["stages"]
        assert own_runs(door, "mm2pl")["stages"] == theirs

    def test_the_head_that_it_freezes_is_not_trained(self, door: str, own_runs: Any) -> None:
        ours = own_runs(door, "mm2pl")["weights"]
        theirs = own_runs("RUNNERS.build", "mmengine")["weights"]
        assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []


# One plan, one set of sentences, by every door


@pytest.fixture
def stopped(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the Trainers that were about to begin; none does."""
    trainers: list[Any] = []

    def stop(trainer: Any, *args: Any, **kwargs: Any) -> None:
        trainers.append(trainer)

    where = "lightning.pytorch.trainer.call._call_and_handle_interrupt"
    monkeypatch.setattr(where, stop)
    return trainers


def test_find_unused_parameters_is_followed_by_every_door(stopped: Any, tmp_path: Path) -> None:
    cfg = config("mm2pl", tmp_path, find_unused_parameters=True)
    file, two = str(tmp_path / "row.py"), {"devices": 2, "accelerator": "cpu"}
    cls = part("mm2pl", "runner.Runner")
    known = inspect.signature(cls.__init__).parameters.keys() & cfg.keys()
    cls(**{name: cfg[name] for name in known}, cfg=cfg, trainer=two).train()
    assert main(["fit", file, *(f"--trainer.{name}={value}" for name, value in two.items())]) == 0
    plans = [(type(t.strategy).__name__, t.strategy._ddp_kwargs) for t in stopped]
    assert plans[0] == plans[1]
    assert plans[0][1]["find_unused_parameters"] is True


SENTENCES = {
    "runner": (
        {"runner": {"type": "EpochBasedRunner", "max_epochs": 2}},
        "a key of MMCV 1.x, ignored here → train_cfg=",
    ),
    "fp16": ({"fp16": {"loss_scale": 512.0}}, "a key of MMCV 1.x, ignored here → optim_wrapper="),
    "optimizer_config": (
        {"optimizer_config": {"grad_clip": None}},
        "a key of MMCV 1.x, ignored here → optim_wrapper=",
    ),
    "env_cfg.backend": (
        {"env_cfg": {"backend": "gloo"}},
        "MMEngine ignores it here → env_cfg=dict(dist_cfg=dict(backend=…))",
    ),
    "near miss": ({"optim_wraper": {}}, "unknown, ignored. Did you mean 'optim_wrapper'?"),
    "train_cfg": (
        {"train_cfg": {"by_epoch": True, "max_epochs": 1, "val_iterval": 1}},
        "Did you mean 'val_interval'?",
    ),
    "randomness": ({"randomness": {"sed": 1}}, "Did you mean 'seed'?"),
}
"""Part of a config that has no effect, or an effect that nobody wants → what its user is told."""


@pytest.mark.parametrize("door", ["Runner(…)", "from_cfg", "RUNNERS.build", "mm2pl fit"])
@pytest.mark.parametrize("name", SENTENCES)
def test_the_same_sentence_by_every_door(
    name: str, door: str, stopped: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more, sentence = SENTENCES[name]
    told = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            enter(door, "mm2pl", tmp_path, **more)
        except (ValueError, TypeError, SystemExit) as error:
            told.append(str(error))
    told += [str(warning.message) for warning in caught]
    text = " ".join(" ".join([*told, *capsys.readouterr()]).split())
    assert sentence in text
    assert text.count(sentence) == 1, "told more than once"


def test_what_is_1x_has_one_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = {"data": {"samples_per_gpu": 2}, "lr_config": {}, "runner": {"max_epochs": 1}}
    cls = part("mm2pl", "config.Config")
    cls({**old, "default_scope": "mmdet"}).dump(str(tmp_path / "old.py"))
    main(["fit", str(tmp_path / "old.py")])
    from_fit = "mm2pl migrate" in "".join(capsys.readouterr())
    main(["migrate", str(tmp_path / "old.py"), "-o", str(tmp_path / "new.py")])
    from_migrate = "mm2pl fit" in "".join(capsys.readouterr())
    assert from_fit
    assert not (from_migrate and not (tmp_path / "new.py").exists())
