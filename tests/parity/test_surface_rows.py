"""A run has one owner and one door: what used to depend on the way in, row by row, next to live MMEngine.

Names and assignments of a Runner stand in ``test_runner_surface.py``; here is what takes a whole story.
"""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import tests.scenarios
from mm2pl.cli import main
from tests.parity.surface_corpus import (
    differences,
    loader,
    log_lines,
    make,
    outcome,
    part,
    run,
    weights_of,
)
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
        ours, theirs = own_runs(door, "mm2pl"), own_runs("RUNNERS.build", "mmengine")
        for name, value in theirs["weights"].items():
            assert torch.equal(ours["weights"][name], value), name


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
    "near miss": ({"optim_wraper": {}}, "unknown, ignored → did you mean 'optim_wrapper'?"),
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


# Verbs and loops


def by_hand(runner: Any) -> Any:
    """Train without ``train()``, as scripts do that want another order of things."""
    runner._train_loop = loop = runner.build_train_loop(runner._train_loop)
    runner._val_loop = runner.build_val_loop(runner._val_loop)
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(runner.optim_wrapper, runner.auto_scale_lr)
    runner.param_schedulers = runner.build_param_scheduler(runner.param_schedulers)
    runner._init_model_weights()
    runner.load_or_resume()
    runner.optim_wrapper.initialize_count_status(runner.model, loop.iter, loop.max_iters)
    for stage in ("before_run", "before_train"):
        runner.call_hook(stage)
    while runner.epoch < runner.max_epochs:
        runner.call_hook("before_train_epoch")
        runner.model.train()
        for index, batch in enumerate(runner.train_dataloader):
            loop.run_iter(index, batch)
        runner.call_hook("after_train_epoch")
        loop._epoch += 1
        runner.val_loop.run()
    for stage in ("after_train", "after_run"):
        runner.call_hook(stage)


def test_a_training_loop_written_by_hand(tmp_path: Path) -> None:
    ends = {}
    for package in ("mmengine", "mm2pl"):
        runner, book = make(package, "epochs", tmp_path / package)
        by_hand(runner)
        ends[package] = outcome(runner, book, {})
    assert ends["mmengine"]["loss"]
    assert differences(ends["mm2pl"], ends["mmengine"]) == {}


VERBS = [("train", "train"), ("train", "val", "test"), ("test", "train"), ("val", "train", "val")]


@pytest.mark.parametrize("by", ["epochs", "iterations"])
@pytest.mark.parametrize("verbs", VERBS, ids=", ".join)
def test_verbs_one_after_another(verbs: tuple[str, ...], by: str, tmp_path: Path) -> None:
    """Where the second training goes on, MMEngine's ends at once: its counters have arrived."""
    if by == "iterations" and verbs == ("train", "train"):
        pytest.skip("MMEngine's InfiniteSampler cannot be iterated again")
    ours, theirs = (
        run(*make(p, by, tmp_path / p, auto_scale_lr=None), verbs) for p in ("mm2pl", "mmengine")
    )
    assert differences(ours, theirs) == {}


def test_a_test_after_training_warns_of_nothing(tmp_path: Path) -> None:
    runner, _ = make("mm2pl", "epochs", tmp_path)
    runner.train()
    before = log_lines(tmp_path, "WARNING")
    runner.test()
    assert [line for line in log_lines(tmp_path, "WARNING") if line not in before] == []


# One place for each global, and nothing left behind


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("benchmark", [True, False])
def test_cudnn_flags_while_training(deterministic: bool, benchmark: bool, tmp_path: Path) -> None:
    seen: dict[str, Any] = {}
    for package in ("mmengine", "mm2pl"):
        torch.backends.cudnn.benchmark = torch.backends.cudnn.deterministic = False

        def look(self: Any, runner: Any, package: str = package) -> None:
            cudnn = torch.backends.cudnn
            seen[package] = (cudnn.benchmark, cudnn.deterministic)

        hook = type("Look", (part(package, "hooks.Hook"),), {"before_train": look})()
        more = {"randomness": {"seed": 5, "deterministic": deterministic}, "custom_hooks": [hook]}
        more["env_cfg"] = {"cudnn_benchmark": benchmark}
        make(package, "epochs", tmp_path / package, **more)[0].train()
    assert seen["mm2pl"] == seen["mmengine"]


def test_a_failed_start_leaves_no_scope_behind(tmp_path: Path) -> None:
    scope = part("mm2pl", "registry.DefaultScope")
    before = scope.get_current_instance()
    with pytest.raises((KeyError, ValueError, ImportError), match="nobody"):
        make("mm2pl", "epochs", tmp_path, default_scope="nobody", model={"type": "RowNet"})
    assert scope.get_current_instance() is before
    assert part("mm2pl", "registry.MODELS").build({"type": "RowNet"}) is not None


# Decided by what an object does


class Spring:
    """An endless sampler, by no name that says so."""

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.size, self.seed = len(dataset), seed

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.seed)
        while True:
            yield from torch.randperm(self.size, generator=generator).tolist()

    def __len__(self) -> int:
        return self.size


def test_an_endless_sampler_resumes_at_its_batch_under_any_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without dropout: MMEngine's file holds no random state."""
    layers = (nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    monkeypatch.setattr(tests.scenarios, "network", lambda: nn.Sequential(*layers))
    for package in ("mm2pl", "mmengine"):
        samplers = part(package, "registry.DATA_SAMPLERS")
        samplers.register_module(module=Spring, force=True)
    data = {**loader(30), "sampler": {"type": "Spring"}}
    runner, _ = make("mmengine", "iterations", tmp_path / "first", train_dataloader=data)
    runner.train()
    more = {
        "train_dataloader": data,
        "load_from": str(tmp_path / "first" / "iter_3.pth"),
        "resume": True,
    }
    ours, theirs = (
        run(*make(p, "iterations", tmp_path / p, **more), ("train",)) for p in ("mm2pl", "mmengine")
    )
    assert len(theirs["loss"]) == 4
    assert (
        differences(*({k: end[k] for k in ("place", "loss", "weights")} for end in (ours, theirs)))
        == {}
    )


def test_an_endless_sampler_by_epoch_goes_on_in_its_stream_and_says_so(tmp_path: Path) -> None:
    """In MMEngine the first epoch never ends."""
    seen: list[torch.Tensor] = []

    class Look(part("mm2pl", "hooks.Hook")):  # type: ignore[misc]
        def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
            seen.append(data_batch["inputs"])

    data = loader(30, "iterations", shuffle=True)
    runner, _ = make("mm2pl", "epochs", tmp_path, train_dataloader=data, custom_hooks=[Look()])
    runner.train()
    sampler = iter(part("mmengine", "dataset.InfiniteSampler")(data["dataset"], seed=5))
    points = [data["dataset"][next(sampler)]["inputs"] for _ in range(8 * len(seen))]
    assert len(seen) == 8
    assert torch.equal(torch.cat(seen), torch.stack(points))
    told = [*log_lines(tmp_path, "WARNING"), *log_lines(tmp_path, "INFO")]
    assert [line for line in told if "InfiniteSampler" in line]


def test_the_preprocessor_of_a_real_basemodel_follows_the_module() -> None:
    module = part("mm2pl", "lightning.MMLightningModule")(models("mmengine")["plain"]())
    module.to("meta")
    assert module.model.data_preprocessor.device.type == "meta"


def test_parse_losses_without_a_loss() -> None:
    pairs = [
        models(p)["plain"]().parse_losses({"top": torch.ones(1)}) for p in ("mm2pl", "mmengine")
    ]
    assert pairs[0] == pairs[1]


def test_a_train_step_that_only_logs(tmp_path: Path) -> None:
    def train_step(self: Any, data: Any, optim_wrapper: Any) -> Any:
        return self.parse_losses({"top": data["inputs"].max()})[1]

    ends = {}
    for package in ("mmengine", "mm2pl"):
        model = type("Logs", (models(package)["plain"],), {"train_step": train_step})()
        ends[package] = run(*make(package, "epochs", tmp_path / package, model=model))
    assert len(ends["mmengine"]["loss"]) == 8
    assert differences(ends["mm2pl"], ends["mmengine"]) == {}
