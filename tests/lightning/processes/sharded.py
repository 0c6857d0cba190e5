"""One process of two whose model is sharded: train by hand and with mm2pl, resume; save what came out."""

import os
import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.utils.data import DataLoader, TensorDataset

from mm2pl.checkpoint.kinds import whole
from mm2pl.dist import get_rank
from mm2pl.lightning import MMLightningModule
from mm2pl.model import BaseModel

SAVED_AT = 4
STEPS = 9


class Net(BaseModel):
    """A small regression."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(3, 8)
        self.head = nn.Linear(8, 1)

    def forward(self, x: torch.Tensor, mode: str = "tensor") -> Any:
        y = self.head(self.body(x).relu())
        return {"loss": y.square().mean()} if mode == "loss" else y


class OwnStep(Net):
    """The same under manual optimization."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        with optim_wrapper.optim_context(self):
            losses = self(*self.data_preprocessor(data, True), mode="loss")
        loss, log_vars = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars


def shard(module: Any) -> None:
    mesh = module.device_mesh["data_parallel"]
    if not hasattr(module.model.body.weight, "device_mesh"):
        fully_shard(module.model.body, mesh=mesh)
        fully_shard(module.model, mesh=mesh)


class ByHand(L.LightningModule):
    """What a user of Lightning writes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def configure_model(self) -> None:
        shard(self)

    def configure_optimizers(self) -> Any:
        adam = torch.optim.AdamW(self.model.parameters(), lr=0.02)
        schedule = torch.optim.lr_scheduler.ExponentialLR(adam, gamma=0.9)
        return [adam], [{"scheduler": schedule, "interval": "step"}]

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.model(*batch, mode="loss")["loss"]


class Sharded(MMLightningModule):
    """The same with mm2pl."""

    def configure_model(self) -> None:
        shard(self)


class Book(Callback):
    """Note the losses, and save after the fourth batch."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.losses: list[str] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        self.losses.append(float(outputs["loss"]).hex())
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == SAVED_AT:
            trainer.save_checkpoint(self.file)


def train(
    module: Any,
    folder: Path,
    resume: str | None = None,
    *,
    differ: bool = True,
    full: bool = False,
    **options: Any,
) -> Any:
    """Return losses, the whole weights, the first learning rate and the steps.

    Args:
        module: What to train.
        folder: Where to save.
        resume: From where to go on.
        differ: Whether each process has another batch, again and again: Lightning begins an open epoch's data again.
        full: Save one file instead of a folder.
        options: For the Trainer.
    """
    torch.manual_seed(int(os.environ.get("RANK", 0)) if differ else 0)
    samples = torch.randn(1, 3).repeat(STEPS, 1)
    book = Book(str(folder / "saved"))
    if "strategy" not in options:
        options["strategy"] = ModelParallelStrategy(2, 1, save_distributed_checkpoint=not full)
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[book],
        default_root_dir=str(folder),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        use_distributed_sampler=False,
        **{"devices": 2, **options},
    )
    trainer.fit(module, DataLoader(TensorDataset(samples), 1), ckpt_path=resume)
    weights = {
        name.removeprefix("model."): whole(param).detach()
        for name, param in module.named_parameters()
    }
    rate = trainer.optimizers[0].param_groups[0]["lr"]
    return book.losses, weights, rate, trainer.global_step


ADAM = {"type": "AdamW", "lr": 0.02}
SCHEDULE = {"type": "ExponentialLR", "gamma": 0.9, "by_epoch": False, "end": 99}


def ours(model: type = Net, counts: int = 1, kind: type = Sharded) -> Any:
    """Return the module with its own optimizer, made anew."""
    torch.manual_seed(3)
    wrapper = {"optimizer": ADAM, "accumulative_counts": counts}
    return kind(model(), optim_wrapper=wrapper, param_scheduler=SCHEDULE)


# Saved by two processes and resumed by two.
RUNS: dict[str, tuple[Any, dict[str, Any]]] = {
    "automatic": (ours, {}),
    "automatic, open window": (ours, {"accumulate_grad_batches": 3}),
    "manual, open window": (lambda: ours(OwnStep, 3), {}),
    "one file": (ours, {"full": True}),
}


def main(folder: str) -> None:
    root = Path(folder)
    torch.manual_seed(3)
    results = {"start": Net().state_dict()}
    torch.manual_seed(3)
    results["by hand"] = train(ByHand(Net()), root / "hand")
    for name, (module, options) in RUNS.items():
        file = str(root / name / "saved")
        results[name] = train(module(), root / name, **options)
        results[f"{name}, resumed"] = train(module(), root / "again", file, **options)
    results["equal batches"] = train(ours(), root / "equal", differ=False)
    torch.save(results, root / f"{get_rank()}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
