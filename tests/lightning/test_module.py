"""MMLightningModule in a user's own Trainer."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from lightning.pytorch.callbacks import (
    LearningRateFinder,
    LearningRateMonitor,
    StochasticWeightAveraging,
)
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.tuner import Tuner
from torch.utils.data import DataLoader

from mm2pl.errors import ArgumentError
from mm2pl.lightning import MMDataModule, MMLightningModule
from mm2pl.optim import OptimWrapper
from mm2pl.registry import DefaultScope
from tests.bridges import SGD, loader, module, trainer
from tests.scenarios import Points, accuracy, models

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: no validation loader, few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


def test_scopes_of_many_modules_are_kept_once() -> None:
    for scope in ("mm2pl", "mmengine", "mm2pl"):
        module(default_scope=scope)
    names = [n for n in DefaultScope._instance_dict if n.startswith("module-")]
    assert names == ["module-mmengine", "module-mm2pl"]
    assert DefaultScope.get_current_instance().scope_name == "mm2pl"


@pytest.mark.parametrize(
    ("flags", "wrapper", "message"),
    [
        (
            {"gradient_clip_val": 1.0},
            {"optimizer": SGD, "clip_grad": {"max_norm": 2}},
            r"gradient_clip_val=1.0.*clip_grad=\{'max_norm': 2\}",
        ),
        (
            {"accumulate_grad_batches": 2},
            {"optimizer": SGD, "accumulative_counts": 4},
            "accumulate_grad_batches=2.*accumulative_counts=4",
        ),
    ],
    ids=["clip", "accumulate"],
)
def test_the_same_thing_given_twice(flags: Any, wrapper: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(**flags).fit(module(optim_wrapper=wrapper), loader())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"accumulate_grad_batches": 2}, "OwnStep has a train_step .* set accumulative_counts in"),
        ({"gradient_clip_val": 1.0}, "gradient_clip_val=1.0.* set clip_grad in optim_wrapper"),
    ],
    ids=str,
)
def test_flags_that_a_model_with_its_own_step_cannot_follow(flags: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(**flags).fit(module("own_step"), loader())


def test_deepspeeds_wrapper_needs_its_strategy() -> None:
    bridge = module(optim_wrapper={"type": "DeepSpeedOptimWrapper", "optimizer": SGD})
    with pytest.raises(ValueError, match=r"DeepSpeedOptimWrapper under SingleDeviceStrategy → "):
        trainer().fit(bridge, loader())


def test_the_wrappers_accumulation_is_the_trainers() -> None:
    run = trainer()
    run.fit(module(optim_wrapper={"optimizer": SGD, "accumulative_counts": 4}), loader())
    assert run.global_step == 4


def test_a_callback_may_replace_the_schedules() -> None:
    bridge = module(param_scheduler={"type": "ExponentialLR", "gamma": 0.5})
    averaging = StochasticWeightAveraging(
        swa_lrs=0.7, swa_epoch_start=2, annealing_epochs=1, annealing_strategy="linear"
    )
    rates: list[float] = []

    class Watch(LearningRateMonitor):
        def __init__(self) -> None:
            super().__init__()

        def on_train_start(self, trainer: Any, *args: Any, **kwargs: Any) -> None: ...

        def on_train_batch_start(self, trainer: Any, *args: Any, **kwargs: Any) -> None:
            rates.append(trainer.optimizers[0].param_groups[0]["lr"])

        def on_train_epoch_start(self, trainer: Any, *args: Any, **kwargs: Any) -> None: ...

    trainer(max_epochs=4, callbacks=[Watch(), averaging]).fit(bridge, loader())
    assert rates[:16] == [0.1] * 8 + [0.05] * 8
    assert rates[-1] == pytest.approx(0.7)


def test_the_learning_rate_finder_finds_and_sets_it() -> None:
    bridge = module(optim_wrapper={"optimizer": dict(SGD)})
    run = trainer(max_epochs=1)
    finder = Tuner(run).lr_find(bridge, loader(512), min_lr=1e-4, max_lr=1.0, num_training=40)
    assert finder is not None
    assert len(set(finder.results["lr"])) > 30
    assert bridge.lr == finder.suggestion() != 0.1
    run.fit(bridge, loader())
    assert bridge.optim_wrapper.get_lr() == {"lr": [finder.suggestion()]}


def test_the_learning_rate_finder_as_a_callback() -> None:
    bridge = module(optim_wrapper={"optimizer": dict(SGD)})
    finder = LearningRateFinder(min_lr=1e-4, max_lr=1.0, num_training_steps=40)
    trainer(max_epochs=1, callbacks=[finder]).fit(bridge, loader(512))
    assert finder.optimal_lr is not None
    assert bridge.optim_wrapper.get_lr() == {"lr": [finder.optimal_lr.suggestion()]}
    assert bridge.lr != 0.1


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("name", ["plain", "own_step"])
def test_compile_compiles_the_models_step(name: str) -> None:
    graphs = []

    def backend(graph: Any, inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    results = []
    for compile in (None, {"backend": backend, "dynamic": False}):
        bridge = module(name, compile=compile)
        trainer(max_epochs=1).fit(bridge, loader())
        results.append(bridge.state_dict())
    assert graphs
    assert results[0].keys() == results[1].keys()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"compile": "yes"}, r"compile='yes' → True, or a dict"),
        ({"model": 3}, r"model should be a torch.nn.Module or a dict\(type=…\), but got 3"),
        ({"model": None}, r"got no model → .* load_from_checkpoint\(path, model=…\)"),
    ],
    ids=["compile", "model", "no model"],
)
def test_wrong_arguments(kwargs: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        MMLightningModule(**{"model": models("mm2pl")["plain"](), **kwargs})


def test_a_model_without_steps() -> None:
    with pytest.raises(TypeError, match=r"Linear has neither train_step .* mm2pl.model.BaseModel"):
        trainer().fit(MMLightningModule(torch.nn.Linear(1, 1)), loader())


def test_without_an_optimizer() -> None:
    with pytest.raises(ValueError, match="got no optim_wrapper → training needs one"):
        trainer().fit(module(optim_wrapper=None), loader())


def test_the_scaled_lr_needs_no_schedule_and_knows_batch_samplers() -> None:
    bridge = module(auto_scale_lr={"enable": True, "base_batch_size": 16})
    sampler = torch.utils.data.BatchSampler(range(64), batch_size=8, drop_last=False)
    run = trainer(max_epochs=1)
    run.fit(bridge, DataLoader(Points(64), batch_sampler=sampler))
    assert bridge.optim_wrapper.get_lr() == {"lr": [0.05]}
    run.fit_loop.max_epochs = 2
    run.fit(bridge, loader())
    assert bridge.optim_wrapper.get_lr() == {"lr": [0.05]}


def test_a_batch_sampler_without_a_size_is_named() -> None:
    bridge = module(auto_scale_lr={"enable": True, "base_batch_size": 16})
    sampler = [[0, 1], [2, 3]]
    with pytest.raises(ValueError, match="needs the attribute batch_size"):
        trainer(max_epochs=1).fit(bridge, DataLoader(Points(64), batch_sampler=sampler))


def test_a_module_at_the_address_of_an_old_one_has_its_own_scope(monkeypatch) -> None:
    monkeypatch.setattr("mm2pl.lightning.module.id", lambda _: 7, raising=False)
    for scope in ("mm2pl", "mmengine"):
        module(default_scope=scope)
        assert DefaultScope.get_current_instance().scope_name == scope


def test_another_trainers_fit_has_schedules_of_its_own() -> None:
    halved = {"type": "StepLR", "step_size": 1, "gamma": 0.5}
    bridge = module(param_scheduler=halved)
    for _ in range(2):
        trainer(max_epochs=3).fit(bridge, loader())
        assert bridge.optim_wrapper.get_lr() == {"lr": [pytest.approx(0.1 * 0.5**2)]}
    assert bridge.optim_wrapper.optimizer is bridge.trainer.optimizers[0]


def test_a_second_fit_goes_on_with_the_weights() -> None:
    bridge = MMLightningModule(
        {"type": type(models("mm2pl")["plain"]())}, optim_wrapper={"optimizer": SGD}
    )
    trainer(max_epochs=1).fit(bridge, loader())
    trained = {k: v.clone() for k, v in bridge.model.state_dict().items()}
    trainer(max_epochs=1, limit_train_batches=0).fit(bridge, loader())
    assert all(torch.equal(v, trained[k]) for k, v in bridge.model.state_dict().items())


HALF = {"custom_keys": {"net.0": {"lr_mult": 0.5}}}


@pytest.mark.parametrize(
    "options",
    [{}, {"auto_scale_lr": {"enable": True, "base_batch_size": 4}}],
    ids=["plain", "scaled"],
)
def test_a_set_lr_is_the_next_fits(options: Any) -> None:
    bridge = module(optim_wrapper={"optimizer": dict(SGD), "paramwise_cfg": HALF}, **options)
    trainer(max_epochs=1).fit(bridge, loader())
    before = bridge.optim_wrapper.get_lr()["lr"]
    bridge.lr = 2 * before[0]
    trainer(max_epochs=1).fit(bridge, loader())
    assert bridge.optim_wrapper.get_lr()["lr"] == pytest.approx([2 * lr for lr in before])
    assert len(set(before)) == 2


def test_a_built_optimizer_goes_on_in_another_fit() -> None:
    net = models("mm2pl")["plain"]()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    scale = {"enable": True, "base_batch_size": 4}
    bridge = MMLightningModule(net, {"optimizer": optimizer}, auto_scale_lr=scale)
    for _ in range(2):
        trainer(max_epochs=1).fit(bridge, loader())
        assert optimizer.param_groups[0]["lr"] == 0.2
    bridge.lr = 0.3
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.3)


def test_a_validated_files_optimizer_is_not_the_next_fits(tmp_path: Any) -> None:
    evaluator = {"type": accuracy("mm2pl")}
    run = trainer(max_epochs=1)
    run.fit(module(optim_wrapper={"optimizer": {**SGD, "lr": 0.01}}), loader())
    run.save_checkpoint(tmp_path / "a.ckpt")
    bridge = module(val_evaluator=evaluator)
    trainer().validate(bridge, loader(), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    trainer(max_epochs=1).fit(bridge, loader())
    assert bridge.optim_wrapper.get_lr() == {"lr": [0.1]}


def test_no_clipping_is_no_contradiction() -> None:
    run = trainer(max_epochs=1, gradient_clip_val=0.0)
    run.fit(module("own_step"), loader())
    assert run.current_epoch == 1


@pytest.mark.parametrize("stage", ["train", "val"])
def test_an_exhausted_iterator_is_an_error(stage: str) -> None:
    bridge = module("own_step", val_evaluator={"type": accuracy("mm2pl")})
    empty: Any = iter(())
    setattr(bridge.model, f"{stage}_step", lambda *args, **kwargs: next(empty))
    with pytest.raises(RuntimeError, match=f"{stage}_step raised StopIteration"):
        trainer(max_epochs=1).fit(bridge, loader(), loader(16))


class Doubled(OptimWrapper):
    """A wrapper whose own idea of an update must not be passed over."""

    updates = 0

    def update_params(self, loss: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        self.updates += 1
        super().update_params(2 * loss, *args, **kwargs)


def test_a_wrapper_of_the_users_own_drives_the_optimizer() -> None:
    bridge = module(optim_wrapper={"type": Doubled, "optimizer": SGD})
    run = trainer(max_epochs=1)
    run.fit(bridge, loader())
    assert bridge.optim_wrapper.updates == run.global_step == 8


def test_a_wrapper_of_the_users_own_and_a_flag() -> None:
    bridge = module(optim_wrapper={"type": Doubled, "optimizer": SGD})
    with pytest.raises(ValueError, match=r"accumulate_grad_batches=2 .* methods of Doubled"):
        trainer(accumulate_grad_batches=2).fit(bridge, loader())


@pytest.mark.parametrize("flags", [{"accumulate_grad_batches": 4}, {}], ids=str)
def test_losses_reach_the_loggers_as_lightnings_do(flags: Any) -> None:
    class Ledger(DummyLogger):
        steps: list[int] = []  # noqa: RUF012

        def log_metrics(self, metrics: Any, step: int | None = None, **kwargs: Any) -> None:
            self.steps.append(step)
            assert "loss" in metrics

    trainer(max_epochs=3, log_every_n_steps=3, logger=Ledger(), **flags).fit(module(), loader())
    # 24 batches, of which every one steps, or 6
    assert Ledger.steps == ([2, 5] if flags else [2, 5, 8, 11, 14, 17, 20, 23])


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self) -> Any:
        points = Points(16)
        yield from (points[i] for i in range(16))


def test_a_loader_without_length_and_no_evaluator() -> None:
    schedules = [
        {"type": "MultiStepLR", "milestones": [1], "gamma": 0.1},
        {"type": "ReduceOnPlateauLR", "monitor": "val_loss", "patience": 5},
    ]
    bridge = module(param_scheduler=schedules)
    stream = DataLoader(Stream(), batch_size=8)
    trainer(log_every_n_steps=0).fit(bridge, stream, loader(16))
    assert bridge.optim_wrapper.get_lr() == {"lr": [pytest.approx(0.01)]}


def test_trainers_are_freed() -> None:
    run = trainer(max_epochs=1)
    run.fit(module(), loader())
    gone = weakref.ref(run)
    del run
    gc.collect()
    assert gone() is None


class OwnStep(MMLightningModule):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        return {**outputs, "loss": outputs["loss"] * 0 + 5}


def test_a_subclass_step_is_logged_as_it_is() -> None:
    run = trainer(max_epochs=1)
    run.fit(OwnStep(models("mm2pl")["plain"](), optim_wrapper={"optimizer": SGD}), loader())
    assert run.callback_metrics["loss"] == 5


PARTS: dict[str, tuple[dict[str, Any], bool]] = {
    "empty": ({}, False),
    "none fits": ({"other": torch.ones(1)}, False),
    "one fits": ({"model.weight": torch.ones(1, 2), "other": torch.ones(1)}, False),
    "a file's names": ({"weight": torch.ones(1, 2), "bias": torch.ones(1)}, True),
}


@pytest.mark.parametrize(("part", "strict"), PARTS.values(), ids=PARTS)
@pytest.mark.parametrize("nested", [False, True])
def test_parts_of_the_weights_are_taken_as_torch_does(
    part: Any, strict: bool, nested: bool
) -> None:
    made = MMLightningModule(torch.nn.Linear(2, 1))
    torch.nn.init.zeros_(made.model.weight)
    outer = torch.nn.ModuleDict({"inner": made}) if nested else made
    given = {f"inner.{name}": value for name, value in part.items()} if nested else dict(part)
    keys = outer.load_state_dict(given, strict=strict)
    assert made.model.weight.sum().item() == (2.0 if len(part) > 1 else 0.0)
    assert [name.rpartition(".")[2] for name in keys.unexpected_keys] == ["other"] * (
        "other" in part
    )
    assert len(given) == len(part)


class OlderNames(MMLightningModule):
    """Know older names, in the way of torch's users."""

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        renamed = {name.replace("old_", ""): value for name, value in state_dict.items()}
        return super().load_state_dict(renamed, *args, **kwargs)


def test_a_subclass_renames_what_it_loads(tmp_path: Any) -> None:
    weights = {"model.old_weight": torch.ones(1, 2), "model.old_bias": torch.ones(1)}
    file = {"state_dict": weights, "pytorch-lightning_version": "2.6.0"}
    torch.save(file, tmp_path / "x.ckpt")
    made = OlderNames.load_from_checkpoint(
        tmp_path / "x.ckpt", model=torch.nn.Linear(2, 1), strict=True
    )
    assert made.model.weight.sum().item() == 2.0


class Own(MMLightningModule):
    def __init__(self, width: int = 2, rate: float = 0.1) -> None:
        super().__init__(models("mm2pl")["plain"](), {"optimizer": {**SGD, "lr": rate}})
        self.width = width


class Passes(MMLightningModule):
    def __init__(self, **kwargs: Any) -> None:
        self.given = kwargs
        super().__init__(kwargs.get("model"))


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (MMLightningModule, "optim_wraper", "optim_wrapper"),
        (MMLightningModule, "stict", "strict"),
        (Own, "optim_wrapper", None),
        (Own, "witdh", "width"),
        (MMDataModule, "sed", "seed"),
    ],
)
def test_an_argument_that_nobody_takes_is_not_dropped(kind: Any, name: str, meant: Any) -> None:
    ends = rf"Did you mean '{meant}'\?" if meant else r"one of these\."
    message = rf"{name}=…\) → {kind.__name__} takes .*{ends}$"
    with pytest.raises(ArgumentError, match=message):
        kind.load_from_checkpoint("unread.ckpt", **{name: 1})


def test_arguments_of_a_subclass_are_taken(tmp_path: Any) -> None:
    run = trainer(max_epochs=1)
    run.fit(module(), loader())
    run.save_checkpoint(tmp_path / "a.ckpt")
    made = Own.load_from_checkpoint(tmp_path / "a.ckpt", rate=0.5, map_location="cpu", strict=False)
    assert made.lr == 0.5
    plain = {"model": models("mm2pl")["plain"]()}
    assert Passes.load_from_checkpoint(tmp_path / "a.ckpt", **plain, any=1).given["any"] == 1


def test_weights_that_fit_are_not_collected(monkeypatch: Any) -> None:
    """A sharded model would be gathered for that."""
    asked: list[Any] = []
    monkeypatch.setattr("mm2pl.checkpoint.fitting.get_state_dict", asked.append)
    made = MMLightningModule(torch.nn.Linear(2, 1))
    made.load_state_dict(made.state_dict())
    assert asked == []
