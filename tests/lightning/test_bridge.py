"""MMLightningModule as any other LightningModule: overridden, extended, nested, copied, saved by anybody."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from torch import nn

from mm2pl.checkpoint.names import to_file
from mm2pl.evaluator import BaseMetric
from mm2pl.hooks import CheckpointHook, Hook
from mm2pl.lightning import MMLightningModule, configure_optimizers
from mm2pl.logging import MMLogger
from mm2pl.model import BaseModel
from mm2pl.runner import Runner
from tests.bridges import SGD, loader, trainer
from tests.scenarios import Points

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists and is not empty"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`"),
]

SCHEDULES = [
    {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
    {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.5, "by_epoch": True},
    {"type": "ExponentialLR", "gamma": 0.97, "by_epoch": False},
]


class WithHead(MMLightningModule):
    """A subclass with weights of its own."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = nn.Linear(2, 2)


def made(cls: type[MMLightningModule] = MMLightningModule, **options: Any) -> MMLightningModule:
    torch.manual_seed(3)
    given = {"optim_wrapper": {"optimizer": SGD}, "param_scheduler": SCHEDULES, **options}
    return cls(Net(), **given)


class Net(BaseModel):
    """Two layers without dropout: Lightning's Trainer restores no random state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        logits = self.net(inputs)
        if mode == "loss":
            return {"loss": nn.functional.cross_entropy(logits, labels)}
        return [{"pred": p, "label": t} for p, t in zip(logits.argmax(1), labels, strict=True)]


class Share(BaseMetric):
    """The share of right answers."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(s["pred"] == s["label"]) for s in data_samples)

    def compute_metrics(self, results: list) -> dict:
        return {"share": sum(results) / len(results)}


class Rates(Callback):
    """Record the learning rate of each batch."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_train_batch_start(self, trainer: Any, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"])


def weights(bridge: MMLightningModule) -> list[torch.Tensor]:
    return [value.clone() for value in bridge.model.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


# Files, whoever writes them


class SavesFirst(Callback):
    """Save by hand, as the first callback of all, so before the schedules' turn."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        trainer.save_checkpoint(self.folder / f"{trainer.global_step}.ckpt")


class FromHook(Hook):
    """Save with the usual priority, so before the schedules' turn; by MMEngine's method."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def after_train_epoch(self, runner: Any) -> None:
        runner.save_checkpoint(str(self.folder), f"epoch {runner.epoch}.pth")

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        runner.save_checkpoint(str(self.folder), f"iter {runner.iter}.pth", by_epoch=False)


WRITERS: dict[str, Callable[[Path], Callback]] = {
    "ModelCheckpoint, every step": lambda folder: ModelCheckpoint(
        folder, "{step}", every_n_train_steps=1, save_top_k=-1
    ),
    "ModelCheckpoint, epochs": lambda folder: ModelCheckpoint(folder, "{step}", save_top_k=-1),
    "CheckpointHook": lambda folder: CheckpointHook(by_epoch=True, interval=1, out_dir=folder),
    "by hand, from the first callback": SavesFirst,
    "from a hook": FromHook,
}


def fit(bridge: MMLightningModule, folder: Path, *callbacks: Callback) -> list[float]:
    rates = Rates()
    run = trainer(
        max_epochs=3,
        callbacks=[rates, *callbacks],
        enable_checkpointing=True,
        default_root_dir=folder,
    )
    run.fit(bridge, loader())
    return rates.seen


def resume(bridge: MMLightningModule, path: Path, *callbacks: Callback) -> list[float]:
    rates = Rates()
    run = trainer(max_epochs=3, callbacks=[rates, *callbacks], default_root_dir=path.parent)
    run.fit(bridge, loader(), ckpt_path=path)
    return rates.seen


@pytest.mark.parametrize("writer", WRITERS)
def test_a_file_is_the_same_whoever_writes_it(writer: str, tmp_path: Path) -> None:
    whole = made()
    rates = fit(whole, tmp_path, WRITERS[writer](tmp_path))
    files = [(torch.load(path)["global_step"], path) for path in tmp_path.rglob("*.[cp]*t*")]
    assert {8, 16} <= {step for step, _ in files}  # the ends of two epochs
    for step, path in files:
        if step in (8, 16):  # within an epoch, Lightning begins the data again
            goes_on = made()
            assert resume(goes_on, path) == rates[step:]
            assert equal(weights(goes_on), weights(whole))


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_hook_before_the_schedules_turn_in_a_run(by_epoch: bool, tmp_path: Path) -> None:
    def run(**options: Any) -> Any:
        length = {"max_epochs": 3} if by_epoch else {"max_iters": 24}
        torch.manual_seed(3)
        runner = Runner(
            model=Net(),
            work_dir=str(tmp_path / "run"),
            train_dataloader={
                "dataset": Points(64),
                "batch_size": 8,
                "sampler": {"type": "DefaultSampler"},
                "collate_fn": {"type": "default_collate"},
            },
            train_cfg={"by_epoch": by_epoch, **length},
            optim_wrapper={"optimizer": SGD},
            param_scheduler=SCHEDULES,
            randomness={"seed": 1},
            **options,
        )
        runner.train()
        return runner

    whole = run(custom_hooks=[FromHook(tmp_path)])
    files = sorted(tmp_path.glob("*.pth"))
    assert len(files) == 24 + (3 if by_epoch else 1)
    for path in files[::3]:
        goes_on = run(load_from=str(path), resume=True)
        rates = [r.optim_wrapper.get_lr() for r in (goes_on, whole)]
        assert rates[0] == rates[1], path.name
        assert equal(weights(goes_on.module), weights(whole.module)), path.name


def test_averages_of_lightning_go_on(tmp_path: Path) -> None:
    whole = made(WithHead)
    fit(
        whole, tmp_path, EMAWeightAveraging(decay=0.5), CheckpointHook(interval=1, out_dir=tmp_path)
    )
    goes_on = made(WithHead)
    (path,) = tmp_path.rglob("epoch_1.pth")
    resume(goes_on, path, EMAWeightAveraging(decay=0.5))
    assert equal(weights(goes_on), weights(whole))


# Weights of its own


def test_own_weights_are_trained_and_stored(tmp_path: Path) -> None:
    class Trained(WithHead):
        seen: list[str]

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            outputs = super().training_step(batch, batch_idx)
            return {**outputs, "loss": outputs["loss"] + self.head.weight.square().sum()}

        def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.seen = list(checkpoint["state_dict"])

        def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
            self.seen = list(checkpoint["state_dict"])

    bridge = made(Trained)
    before = bridge.head.weight.clone()
    fit(bridge, tmp_path, ModelCheckpoint(tmp_path, "last"))
    assert not torch.equal(before, bridge.head.weight)
    assert bridge.seen == list(bridge.state_dict())
    stored = torch.load(tmp_path / "last.ckpt")["state_dict"]
    own = {name for name in stored if name.startswith("lightning_module.")}
    assert own == {"lightning_module.head.weight", "lightning_module.head.bias"}
    assert stored.keys() - own == bridge.model.state_dict().keys()
    other = made(Trained)
    resume(other, tmp_path / "last.ckpt")
    assert other.seen == bridge.seen
    assert torch.equal(other.head.weight, bridge.head.weight)


def test_own_weights_that_do_not_fit_are_said(tmp_path: Path, monkeypatch: Any) -> None:
    class OtherHead(MMLightningModule):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.head, self.top = nn.Linear(2, 3), nn.Linear(1, 1)

    fit(made(WithHead), tmp_path, ModelCheckpoint(tmp_path, "last"))
    other = made(OtherHead)
    kept = other.head.weight.clone()
    lines: list[str] = []
    monkeypatch.setattr(MMLogger, "warning", lambda self, text, *args: lines.append(text))
    run = trainer(max_epochs=3, default_root_dir=tmp_path)
    run.validate(other, loader(), ckpt_path=tmp_path / "last.ckpt", verbose=False)
    said = "\n".join(lines)
    assert "head.weight is (2, 2) in the file and (3, 2) here" in said
    assert "missing: lightning_module.top.bias, lightning_module.top.weight" in said
    assert torch.equal(other.head.weight, kept)


@pytest.mark.parametrize("form", ["module", "file"])
def test_both_forms_of_names_are_taken(form: str) -> None:
    bridge, other = made(WithHead), made(WithHead)
    with torch.no_grad():
        for parameter in bridge.parameters():
            parameter.add_(1)
    state = bridge.state_dict()
    other.load_state_dict(state if form == "module" else to_file(state))
    assert equal(list(other.state_dict().values()), list(state.values()))


def test_inside_another_module_it_is_a_part_like_any_other(tmp_path: Path) -> None:
    class Outer(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.part = made(WithHead)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.part.model(**batch, mode="loss")["loss"]

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.part.model.parameters(), lr=0.1)

    outer, other = Outer(), Outer()
    run = trainer(max_epochs=1)
    run.fit(outer, loader())
    run.save_checkpoint(tmp_path / "outer.ckpt")
    assert {
        name.partition(".")[0] for name in torch.load(tmp_path / "outer.ckpt")["state_dict"]
    } == {"part"}
    trainer(max_epochs=2).fit(other, loader(), ckpt_path=tmp_path / "outer.ckpt")
    other.load_state_dict(outer.state_dict())
    assert equal(weights(other.part), weights(outer.part))


# Copies


COPIES = pytest.mark.parametrize(
    "copied",
    [copy.deepcopy, lambda bridge: pickle.loads(pickle.dumps(bridge))],
    ids=["deepcopy", "pickle"],
)


@COPIES
def test_a_trained_module_can_be_copied_and_trained(copied: Callable[[Any], Any]) -> None:
    bridge = made(val_evaluator=Share())
    run = trainer(max_epochs=3)
    run.fit(bridge, loader(), loader())
    trained = weights(bridge)
    other = copied(bridge)
    assert equal(weights(other), trained)
    trainer(max_epochs=1).fit(other, loader())
    assert not equal(weights(other), trained)
    assert equal(weights(bridge), trained)


class MakesOwn(MMLightningModule):
    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)


def with_built_optimizer() -> MMLightningModule:
    net = Net()
    built = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    scaled = {"enable": True, "base_batch_size": 4}
    return MMLightningModule(net, built, auto_scale_lr=scaled)


REFITTED: dict[str, Callable[[], MMLightningModule]] = {
    "a config": made,
    "a built optimizer": with_built_optimizer,
    "a configure_optimizers": lambda: MakesOwn(Net()),
    "a compiled step": lambda: made(compile={"backend": "eager"}),
}


@COPIES
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("make", REFITTED.values(), ids=REFITTED)
def test_a_copy_is_trained_again_as_the_module_itself(
    make: Callable[[], MMLightningModule], copied: Callable[[Any], Any]
) -> None:
    bridge = make()
    trainer(max_epochs=2).fit(bridge, loader())
    other, trained = copied(bridge), weights(bridge)
    rates = [Rates(), Rates()]
    for each, seen in zip((other, bridge), rates, strict=True):
        trainer(max_epochs=2, callbacks=[seen]).fit(each, loader())
    assert equal(weights(other), weights(bridge))
    assert not equal(weights(other), trained)
    assert rates[0].seen == rates[1].seen


@COPIES
def test_a_copys_evaluation_is_compiled_for_its_own_weights(copied: Callable[[Any], Any]) -> None:
    bridge = made(val_evaluator=Share(), compile={"backend": "eager"})
    trainer().validate(bridge, loader(), verbose=False)
    other = copied(bridge)
    other.model.net = None
    with pytest.raises(TypeError, match="NoneType"):
        other.model.val_step(next(iter(loader())))
    assert inspect.signature(other.model.val_step) == inspect.signature(Net().val_step)


# Another Trainer, another module


class ByHand(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = Net()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.model(**batch, mode="loss")["loss"]

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_a_trainer_is_given_another_module() -> None:
    ticks: list[str] = []

    class Notes(Hook):
        def after_train_epoch(self, runner: Any) -> None:
            ticks.append(type(runner.module).__name__)

    run = trainer(max_epochs=1, callbacks=[Notes()])
    run.fit(made(), loader())
    run.fit_loop.epoch_progress.reset()
    run.fit_loop.max_epochs = 1
    run.fit(ByHand(), loader())
    assert ticks == ["MMLightningModule", "ByHand"]


@pytest.mark.parametrize("other", ["itself", "a module of ours", "a module by hand"])
def test_a_trainer_has_its_own_accumulation_back_after_an_exception(other: str) -> None:
    class Stops(Callback):
        armed = True

        def on_train_batch_end(self, *_: Any) -> None:
            if self.armed:
                self.armed = False
                raise RuntimeError("stopped")

    run = trainer(max_epochs=1, callbacks=[Stops()])
    bridge = made(optim_wrapper={"optimizer": SGD, "accumulative_counts": 3})
    with pytest.raises(RuntimeError, match="stopped"):
        run.fit(bridge, loader())
    assert run.accumulate_grad_batches == 3  # as a file that the exception wrote had it
    if other == "itself":
        run.fit(bridge, loader())
        assert run.accumulate_grad_batches == 1  # at its end
    else:
        run.fit(made() if other == "a module of ours" else ByHand(), loader())
        assert run.accumulate_grad_batches == 1


def test_schedules_of_a_subclass_that_takes_the_parts_tick() -> None:
    class Parts(MMLightningModule):
        def configure_optimizers(self) -> Any:
            halves = {"type": "ExponentialLR", "gamma": 0.5, "by_epoch": True}
            return configure_optimizers(self, {"optimizer": SGD}, halves)

    bridge = made(Parts, optim_wrapper=None, param_scheduler=None)
    trainer(max_epochs=3).fit(bridge, loader())
    assert bridge.lr == SGD["lr"] * 0.25  # the last tick is at the schedule's end
