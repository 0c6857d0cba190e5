"""Parameters that a module gets while its Trainer sets it up are trained, as by Lightning by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, LightningModule
from torch import nn

from mm2pl.lightning import MMLightningModule
from mm2pl.model import BaseModel
from mm2pl.optim import OptimWrapper, OptimWrapperDict
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS
from mm2pl.runner import Runner
from tests.bridges import loader, trainer

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: no validation loader, few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)

SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
HALVED = {"type": "MultiStepLR", "milestones": [2], "gamma": 0.5}
UNUSED = "custom key 'head' occurs in the name of no parameter"


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(5)
        self.body = nn.Linear(8, 4)

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        scores = self.body(inputs)
        scores = self.head(scores) if hasattr(self, "head") else scores
        return {"loss": F.cross_entropy(scores, labels)} if mode == "loss" else scores


class Grows:
    """Get a ``head`` at one moment, for itself or for its model."""

    def __init__(self, *args: Any, moment: str = "setup", owner: str = "module", **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.moment, self.owner = moment, owner

    def grow(self, moment: str) -> None:
        owner: Any = self if self.owner == "module" else self.model  # type: ignore[attr-defined]
        if moment == self.moment and not hasattr(owner, "head"):
            torch.manual_seed(7)
            owner.head = nn.Linear(4, 4)

    def setup(self, stage: str) -> None:
        self.grow("setup")

    def configure_model(self) -> None:
        self.grow("configure_model")

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        scores = self.model(batch["inputs"])  # type: ignore[attr-defined]
        scores = self.head(scores) if hasattr(self, "head") else scores
        return F.cross_entropy(scores, batch["labels"])


class Grower(Callback):
    def setup(self, trainer: Any, pl_module: Any, stage: str) -> None:
        pl_module.grow("callback")


class ByHand(Grows, LightningModule):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = Net()

    def configure_optimizers(self) -> Any:
        sgd = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [sgd], [torch.optim.lr_scheduler.MultiStepLR(sgd, [2], 0.5)]


class Ours(Grows, MMLightningModule):
    pass


def ours(optim_wrapper: Any = None, schedule: Any = HALVED, **kwargs: Any) -> Ours:
    return Ours(Net(), optim_wrapper or {"optimizer": dict(SGD)}, schedule, **kwargs)


def fitted(module: Any, epochs: int = 3, path: Any = None, **flags: Any) -> Any:
    run = trainer(max_epochs=epochs, callbacks=[Grower()], **flags)
    run.fit(module, loader(), ckpt_path=path, weights_only=path and False)
    return run


def assert_same_weights(module: nn.Module, expected: nn.Module) -> None:
    found = dict(module.named_parameters())
    assert found.keys() == dict(expected.named_parameters()).keys()
    assert all(torch.equal(found[name], each) for name, each in expected.named_parameters())


@pytest.mark.parametrize("moment", ["setup", "configure_model", "callback"])
@pytest.mark.parametrize("owner", ["module", "model"])
def test_first_second_and_resumed_fit(moment: str, owner: str, tmp_path: Path) -> None:
    place = {"moment": moment, "owner": owner}
    first, expected = ours(**place), ByHand(**place)
    fitted(first, 1).save_checkpoint(tmp_path / "one.ckpt")
    fitted(expected, 1)
    assert_same_weights(first, expected)

    fitted(first)
    fitted(expected)
    assert_same_weights(first, expected)

    resumed, through = ours(**place), ByHand(**place)
    fitted(resumed, 3, tmp_path / "one.ckpt")
    fitted(through, 3)
    assert_same_weights(resumed, through)


@pytest.mark.parametrize("flags", [{}, {"accumulate_grad_batches": 3, "gradient_clip_val": 0.5}])
def test_what_the_wrapper_says_applies(flags: Any) -> None:
    wrapper = {"optimizer": dict(SGD), "accumulative_counts": 3, "clip_grad": {"max_norm": 0.5}}
    module, expected = ours(None if flags else wrapper, owner="model"), ByHand(owner="model")
    assert fitted(module, **flags).accumulate_grad_batches == (3 if flags else 1)
    fitted(expected, accumulate_grad_batches=3, gradient_clip_val=0.5)
    assert_same_weights(module, expected)


def test_a_custom_key_for_a_late_part_applies_and_is_not_unused(capfd: Any) -> None:
    keys = {"head": {"lr_mult": 0.1}, "absent": {"lr_mult": 0.5}}
    module = ours(
        {"optimizer": dict(SGD), "paramwise_cfg": {"custom_keys": keys}}, None, owner="model"
    )
    groups = fitted(module).optimizers[0].param_groups
    rates = {id(group["params"][0]): group["lr"] for group in groups}
    assert {name: rates[id(each)] for name, each in module.named_parameters()} == {
        "model.body.weight": 0.1,
        "model.body.bias": 0.1,
        "model.head.weight": pytest.approx(0.01),
        "model.head.bias": pytest.approx(0.01),
    }
    told = "".join(capfd.readouterr())
    assert UNUSED not in told
    assert told.count("custom key 'absent' occurs in the name of no parameter") == 1


def test_schedules_and_the_scaled_rate_begin_anew() -> None:
    module = ours(
        {"optimizer": dict(SGD)},
        owner="model",
        auto_scale_lr={"enable": True, "base_batch_size": 4},
    )
    [group] = fitted(module).optimizers[0].param_groups
    assert (group["initial_lr"], group["lr"]) == (0.2, 0.1)  # batches of 8


def test_a_built_optimizer_trains_the_modules_own() -> None:
    model = Net()
    built = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    module, expected = Ours(model, built, HALVED), ByHand()
    fitted(module)
    fitted(expected)
    assert_same_weights(module, expected)


def test_a_constructor_that_needs_no_optimizer_is_called_again() -> None:
    @OPTIM_WRAPPER_CONSTRUCTORS.register_module()
    class PerPart:
        def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: Any = None) -> None:
            self.lr = optim_wrapper_cfg["lr"]

        def __call__(self, model: nn.Module) -> OptimWrapperDict:
            parts = {
                name: torch.optim.SGD(p.parameters(), self.lr)
                for name, p in model.named_children()
                if name != "data_preprocessor"
            }
            return OptimWrapperDict(**{name: OptimWrapper(each) for name, each in parts.items()})

    module = ours({"constructor": "PerPart", "lr": 0.1}, None, owner="model")
    assert len(fitted(module).optimizers) == 2


class Guest(ByHand):
    def validation_step(self, batch: Any, batch_idx: int) -> None: ...


def run(folder: Path, **keys: Any) -> Runner:
    made = Runner.from_cfg(
        {
            "model": Guest(moment=keys.pop("moment"), owner="module"),
            "train_dataloader": loader(),
            "train_cfg": {"by_epoch": True, "max_epochs": 3},
            "optim_wrapper": {"optimizer": SGD, **keys.pop("wrapper", {})},
            "param_scheduler": [HALVED],
            "default_hooks": {"checkpoint": {"type": "CheckpointHook", "interval": 1}},
            "work_dir": str(folder),
            "log_level": "WARNING",
            **keys,
        }
    )
    made.train()
    return made


@pytest.mark.parametrize("moment", ["setup", "configure_model"])
def test_a_run_trains_them_too(moment: str, tmp_path: Path) -> None:
    expected = ByHand(moment=moment)
    fitted(expected, 3)
    assert_same_weights(run(tmp_path / "through", moment=moment).model, expected)
    file = str(tmp_path / "through" / "epoch_1.pth")
    resumed = run(tmp_path / "resumed", moment=moment, load_from=file, resume=True)
    assert_same_weights(resumed.model, expected)


class Drawn(Net):
    def init_weights(self) -> None:
        self.head = nn.Linear(4, 4)


def test_what_init_weights_makes_is_not_trained_as_in_mmengine(tmp_path: Path) -> None:
    runner = run(tmp_path, model=Drawn(), moment="never")
    assert hasattr(runner.model, "head")
    assert len(runner.optim_wrapper.param_groups[0]["params"]) == 2


def test_a_custom_key_of_a_run(tmp_path: Path, capfd: Any) -> None:
    keys = {"custom_keys": {"head": {"lr_mult": 0.1}}}
    runner = run(tmp_path, moment="setup", wrapper={"paramwise_cfg": keys})
    assert runner.optim_wrapper.get_lr()["lr"] == pytest.approx([0.05, 0.05, 0.005, 0.005])
    assert UNUSED not in "".join(capfd.readouterr())
