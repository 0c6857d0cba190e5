"""One process of two: train and save inside a window, then train again from that file; save all losses and weights."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, Trainer
from torch.utils.data import DataLoader, TensorDataset

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from mm2pl.dist import get_rank
from mm2pl.lightning import MMLightningModule
from mm2pl.model import BaseModel
from tests.scenarios import Scenario, build

SGD = {"type": "SGD", "lr": 0.1, "momentum": 0.9}
LOG_LEVEL = "ERROR"
FOURTH = 4
"""Of windows of three batches, the fourth batch opens the second."""


def of_config(folder: Path, resume: str | None, by_lightning: bool, alone: bool = False) -> Any:
    """Train a config's run, and return its losses and weights."""
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    counts = {} if by_lightning else {"accumulative_counts": 3}
    scenario = Scenario(
        optim_wrapper={"optimizer": SGD, **counts},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        default_hooks={
            "checkpoint": {"type": "CheckpointHook", "by_epoch": False, "interval": FOURTH}
        },
    )
    options: dict[str, Any] = {"log_level": LOG_LEVEL}
    if resume:
        options |= {"load_from": resume, "resume": True}
    if not alone:
        options |= {"launcher": "pytorch", "env_cfg": {"dist_cfg": {"backend": "gloo"}}}
    runner = build("mm2pl", scenario, str(folder), book, **options)
    if by_lightning:
        runner.trainer.accumulate_grad_batches = 3
    runner.train()
    return book["loss"], runner.model.state_dict()


class Net(BaseModel):
    """A regression whose every process sees one sample only, since Lightning begins an open epoch's data again."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(3, 1)

    def forward(self, x: torch.Tensor, mode: str = "tensor") -> Any:
        return {"loss": self.layer(x).square().mean()}


class OwnStep(Net):
    """The same under manual optimization."""

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        with optim_wrapper.optim_context(self):
            losses = self(*self.data_preprocessor(data, True), mode="loss")
        loss, log_vars = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars


class Book(Callback):
    """Note the losses, and save after the fourth batch."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.losses: list[str] = []

    def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, *rest: Any) -> None:
        self.losses.append(float(outputs["loss"]).hex())
        if trainer.fit_loop.epoch_loop.batch_progress.total.ready == FOURTH:
            trainer.save_checkpoint(self.file)


def of_trainer(folder: Path, resume: str | None, by_lightning: bool) -> Any:
    """Train in a Trainer of its own, and return the losses and weights."""
    torch.manual_seed(int(os.environ.get("RANK", 0)))
    samples = torch.randn(1, 3).repeat(9, 1)
    torch.manual_seed(3)
    module = MMLightningModule(
        Net() if by_lightning else OwnStep(),
        optim_wrapper={
            "optimizer": SGD,
            **({} if by_lightning else {"accumulative_counts": 3}),
        },
    )
    book = Book(str(folder / f"iter_{FOURTH}.pth"))
    Trainer(
        max_epochs=1,
        accelerator="cpu",
        devices=2,
        strategy="ddp",
        accumulate_grad_batches=3 if by_lightning else 1,
        callbacks=[book],
        default_root_dir=str(folder),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        use_distributed_sampler=False,
    ).fit(module, DataLoader(TensorDataset(samples), 1), ckpt_path=resume)
    return book.losses, module.model.state_dict()


RUNS = {"config": of_config, "trainer": of_trainer}


def main(folder: str) -> None:
    for kind, run in RUNS.items():
        for by_lightning in (False, True):
            whole = Path(folder, f"{kind}, {'automatic' if by_lightning else 'manual'}")
            results = {"whole": run(whole, None, by_lightning)}
            file = str(whole / f"iter_{FOURTH}.pth")
            results["resumed"] = run(whole / "resumed", file, by_lightning)
            torch.save(results, whole / f"{get_rank()}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
