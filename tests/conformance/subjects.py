"""One network as a LightningModule written by hand, and as three that mm2pl makes; what a run of one of them gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import nn
from torch.utils.data import DataLoader

from mm2pl.lightning import MMLightningModule
from mm2pl.model import BaseModel
from tests.bridges import QUIET
from tests.scenarios import Points

GAMMA = 0.5
SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}


class Net(BaseModel):
    """Two layers and a norm; no dropout, since Lightning's Trainer restores no random state."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4))

    def forward(self, inputs: Any, labels: Any = None, mode: str = "tensor") -> Any:
        logits = self.net(inputs)
        if mode == "loss":
            return {"loss": nn.functional.cross_entropy(logits, labels)}
        return list(logits.argmax(1)) if mode == "predict" else logits


class ByHand(LightningModule):
    """What somebody writes who has never heard of mm2pl."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Net()
        self.lr = SGD["lr"]

    def forward(self, inputs: Any) -> Any:
        return self.model(inputs)

    def extra_loss(self) -> Any:
        return 0

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.model(**batch, mode="loss")["loss"] + self.extra_loss()
        self.log("loss", loss, prog_bar=True, batch_size=1)
        return {"loss": loss}

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        loss = self.model(**batch, mode="loss")["loss"]
        self.log("val_loss", loss, batch_size=len(batch["labels"]))

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        loss = self.model(**batch, mode="loss")["loss"]
        self.log("test_loss", loss, batch_size=len(batch["labels"]))

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.model(**batch, mode="predict")

    def groups(self) -> Any:
        return [{"params": list(self.model.parameters())}]

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.groups(), lr=self.lr, momentum=SGD["momentum"])
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, GAMMA)]


class ByHandWithHead(ByHand):
    """With weights that the network does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)

    def extra_loss(self) -> Any:
        return self.head(self.head.bias).square().sum()

    def groups(self) -> Any:
        return [*super().groups(), {"params": list(self.head.parameters())}]


class Subclass(MMLightningModule):
    """A subclass with weights and hooks of its own; none of the hooks calls ``super()``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.head = nn.Linear(2, 2)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = super().training_step(batch, batch_idx)
        loss = outputs["loss"] + self.head(self.head.bias).square().sum()
        self.log("loss", loss)
        return {"loss": loss}

    def setup(self, stage: str) -> None: ...
    def teardown(self, stage: str) -> None: ...
    def configure_model(self) -> None: ...
    def on_fit_start(self) -> None: ...
    def on_fit_end(self) -> None: ...
    def on_train_start(self) -> None: ...
    def on_train_end(self) -> None: ...
    def on_train_epoch_start(self) -> None: ...
    def on_train_epoch_end(self) -> None: ...
    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None: ...
    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None: ...
    def on_validation_start(self) -> None: ...
    def on_validation_end(self) -> None: ...
    def on_validation_epoch_start(self) -> None: ...
    def on_validation_epoch_end(self) -> None: ...
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None: ...
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None: ...


class Outer(LightningModule):
    """Somebody's module in which one of ours is a part that does the work."""

    def __init__(self, part: MMLightningModule) -> None:
        super().__init__()
        self.part = part

    def forward(self, inputs: Any) -> Any:
        return self.part(inputs)

    @property
    def lr(self) -> float:
        return self.part.lr

    @lr.setter
    def lr(self, value: float) -> None:
        self.part.lr = value

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        outputs = self.part.training_step(batch, batch_idx)
        self.log("loss", outputs["loss"], prog_bar=True, batch_size=1)
        return outputs

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.part.validation_step(batch, batch_idx)

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.part.test_step(batch, batch_idx)

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> Any:
        return self.part.predict_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(
            self.part.model.parameters(), lr=SGD["lr"], momentum=SGD["momentum"]
        )
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, GAMMA)]


def ours(cls: type[MMLightningModule] = MMLightningModule, **options: Any) -> MMLightningModule:
    torch.manual_seed(3)
    schedule = {"type": "StepLR", "step_size": 1, "gamma": GAMMA, "by_epoch": True}
    given = {"optim_wrapper": {"optimizer": dict(SGD)}, "param_scheduler": schedule, **options}
    return cls(Net(), **given)


def by_hand(cls: type[ByHand] = ByHand) -> ByHand:
    torch.manual_seed(3)
    return cls()


PAIRS: dict[str, tuple[Callable[[], LightningModule], Callable[[], LightningModule]]] = {
    "plain": (ours, by_hand),
    "subclass": (lambda: ours(Subclass), lambda: by_hand(ByHandWithHead)),
    "nested": (lambda: Outer(ours()), by_hand),
}
"""Per kind what mm2pl makes, and what it must be equal to."""


class Record(Callback):
    """Write down each batch and each validation of a run."""

    def __init__(self) -> None:
        self.batches: list[Any] = []
        self.metrics: list[Any] = []

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        self.batches.append([o.param_groups[0]["lr"] for o in trainer.optimizers])

    def on_train_batch_end(self, trainer: Trainer, _: Any, outputs: Any, *args: Any) -> None:
        self.batches.append((float(outputs["loss"]).hex(), trainer.global_step))

    def on_validation_end(self, trainer: Trainer, *_: Any) -> None:
        logged = trainer.callback_metrics
        values = {key: float(logged[key]).hex() for key in sorted(logged) if "val" in key}
        self.metrics.append((trainer.global_step, values))


def weights(module: LightningModule) -> list[torch.Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return len(one) == len(other) > 0 and all(map(torch.equal, one, other))


def loader(size: int = 64, **options: Any) -> DataLoader:
    return DataLoader(Points(size), **{"batch_size": 8, **options})


def trainer(**flags: Any) -> Trainer:
    return Trainer(**{**QUIET, "max_epochs": 2, "num_sanity_val_steps": 0, **flags})


def fitted(module: LightningModule, *callbacks: Callback, **flags: Any) -> dict[str, Any]:
    """Fit, and return what happened, in an order in which the first difference says most."""
    record = Record()
    run = trainer(**{"callbacks": [*callbacks, record], **flags})
    run.fit(module, loader(), loader(20))
    return {
        "batches": record.batches,
        "metrics": record.metrics,
        "place": (run.current_epoch, run.global_step, run.fit_loop.epoch_loop.total_batch_idx),
        "weights": [value.tolist() for value in weights(module)],
    }


def assert_equal(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    for key, value in theirs.items():
        assert mine[key] == value, key
    assert theirs["batches"]
