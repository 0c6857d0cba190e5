"""An imported model under Trainer flags ends with the weights of a LightningModule written by hand, bit for bit."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import (
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    ModelCheckpoint,
    StochasticWeightAveraging,
)

from mm2pl.hooks import EMAHook, Hook, LoggerHook, RuntimeInfoHook
from mm2pl.lightning import MMLightningModule
from mm2pl.model import BaseModel
from tests.bridges import loader, trainer

pytestmark = [
    pytest.mark.filterwarnings(
        # Lightning's advice to users: few workers, few batches per log line, an lr scheduler beside SWA.
        "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning",
        "ignore:.*lr_scheduler.step.* before .*optimizer.step",
        "ignore:Swapping scheduler",
        "ignore:The dirpath has changed",
    )
]


def net() -> torch.nn.Module:
    torch.manual_seed(5)
    layers = [torch.nn.Linear(8, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(16, 4))


class Net(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        return {"loss": F.cross_entropy(self.net(inputs), labels)}


class ByHand(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = net()

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self.net(batch["inputs"]), batch["labels"])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.net(batch["inputs"]), batch["labels"]))

    def configure_optimizers(self) -> Any:
        sgd = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        return [sgd], [torch.optim.lr_scheduler.StepLR(sgd, 1, 0.5)]


def imported() -> MMLightningModule:
    return MMLightningModule(
        Net(),
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        param_scheduler={"type": "StepLR", "step_size": 1, "gamma": 0.5},
    )


FLAGS: dict[str, Any] = {
    "none": {},
    "accumulate": {"accumulate_grad_batches": 3},
    "clip": {"gradient_clip_val": 0.5},
    "clip by value": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "accumulate and clip": {"accumulate_grad_batches": 3, "gradient_clip_val": 0.5},
    "bf16-mixed": {"precision": "bf16-mixed"},
    "bf16-true": {"precision": "bf16-true"},
    "64-true": {"precision": "64-true"},
    "limit_train_batches": {"limit_train_batches": 5},
    "max_steps": {"max_steps": 19, "max_epochs": -1},
    "overfit_batches": {"overfit_batches": 2},
    "fast_dev_run": {"fast_dev_run": 3},
    "sanity check": {"num_sanity_val_steps": 2},
    "val_check_interval": {"val_check_interval": 3},
    "accumulation schedule": {"callbacks": lambda: [GradientAccumulationScheduler({0: 2, 2: 4})]},
    "SWA": {"callbacks": lambda: [StochasticWeightAveraging(0.01, swa_epoch_start=2)]},
    "EMA": {"callbacks": lambda: [EMAWeightAveraging(decay=0.9)]},
    "early stopping": {"callbacks": lambda: [EarlyStopping("val_loss", 0.5, patience=1)]},
}


def fitted(module: LightningModule, path: Any = None, **flags: Any) -> tuple[Any, int, float]:
    callbacks = flags.pop("callbacks", list)()
    run = trainer(max_epochs=flags.pop("max_epochs", 4), callbacks=callbacks, **flags)
    run.fit(module, loader(), loader(24), ckpt_path=path, weights_only=path and False)
    weights = list(module.state_dict().values())
    return weights, run.global_step, float(run.callback_metrics["val_loss"])


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_flags_and_callbacks(flags: Any) -> None:
    (ours, *rest), (theirs, *expected) = fitted(imported(), **flags), fitted(ByHand(), **flags)
    assert all(map(torch.equal, ours, theirs))
    assert rest == expected


class Seen(Hook):
    def __init__(self) -> None:
        self.outputs: list[Any] = []

    def after_train_iter(self, runner: Any, batch_idx: int, data_batch: Any, outputs: Any) -> None:
        self.outputs.append(outputs)


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.filterwarnings(
    "ignore:.training_step. returned .None."
)  # Lightning's, on purpose here
@pytest.mark.parametrize("skipped", [{0}, {1, 2}, {3, 4, 5}, {7}, set(range(8))], ids=str)
def test_a_step_that_returns_none_leaves_its_batch_out(
    skipped: set[int], accumulate: int, tmp_path: Any
) -> None:
    def skipping(kind: Any) -> Any:
        class Skips(kind):
            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return None if batch_idx in skipped else super().training_step(batch, batch_idx)

        return Skips

    seen = Seen()
    hooks = [LoggerHook(interval=1), RuntimeInfoHook(), EMAHook(), seen]
    ours = skipping(MMLightningModule)(Net(), {"optimizer": {"type": "SGD", "lr": 0.1}})
    flags = {"accumulate_grad_batches": accumulate, "max_epochs": 2}
    trainer(**flags, callbacks=hooks, default_root_dir=tmp_path).fit(ours, loader())
    expected = skipping(ByHand)()
    expected.configure_optimizers = lambda: torch.optim.SGD(expected.parameters(), lr=0.1)
    trainer(**flags).fit(expected, loader())
    assert all(map(torch.equal, ours.parameters(), expected.parameters()))
    assert [each is None for each in seen.outputs] == 2 * [i in skipped for i in range(8)]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_resumed_fit(tmp_path: Any, accumulate: int) -> None:
    def flags(folder: str) -> dict[str, Any]:
        files = {"dirpath": tmp_path / folder, "filename": "{epoch}", "save_top_k": -1}
        kept = {"enable_checkpointing": True, "accumulate_grad_batches": accumulate}
        return {"callbacks": lambda: [ModelCheckpoint(**files)], **kept}

    through, *rest = fitted(imported(), **flags("first"))
    resumed, *expected = fitted(imported(), tmp_path / "first" / "epoch=1.ckpt", **flags("second"))
    assert all(map(torch.equal, through, resumed))
    assert rest == expected
