"""One process of two: fit with each way to give data, and write down which samples this process saw in each epoch."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from mm2pl.dataset import DefaultSampler
from mm2pl.lightning import MMDataModule
from tests.bridges import QUIET

Numbers = list(range(23))
LOADER: dict[str, Any] = {"batch_size": 3, "dataset": Numbers, "num_workers": 0}
LOADER["collate_fn"] = {"type": "default_collate"}
SAMPLERS: dict[str, dict[str, Any]] = {
    "shuffled": {"type": "DefaultSampler", "shuffle": True},
    "in order": {"type": "DefaultSampler", "shuffle": False},
    "uneven": {"type": "DefaultSampler", "shuffle": False, "round_up": False},
    "endless": {"type": "InfiniteSampler", "shuffle": True},
}
FLAGS: dict[str, dict[str, Any]] = {
    "by default": {},
    "no sampler": {"use_distributed_sampler": False},
    "limited": {"limit_train_batches": 2},
    "reloaded": {"reload_dataloaders_every_n_epochs": 1},
    "overfit": {"overfit_batches": 2},
}


class Notes(LightningModule):
    """A module of Lightning's that trains nothing and notes which samples it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: dict[str, list[list[int]]] = {"train": [], "val": []}

    def configure_model(self) -> None:
        """Shard nothing: what `ModelParallelStrategy` demands."""

    def on_train_epoch_start(self) -> None:
        self.seen["train"].append([])

    def on_validation_epoch_start(self) -> None:
        self.seen["val"].append([])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.seen["train"][-1] += batch.tolist()
        return (self.weight * batch.float().mean()).sum()

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen["val"][-1] += batch.tolist()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(data: MMDataModule, strategy: Any = None, **flags: Any) -> dict[str, list[list[int]]]:
    notes = Notes()
    trainer = Trainer(
        **QUIET,
        strategy=strategy or DDPStrategy(process_group_backend="gloo"),
        devices=2,
        max_epochs=3,
        num_sanity_val_steps=0,
        **flags,
    )
    trainer.fit(notes, datamodule=data)
    return notes.seen


def module(sampler: dict[str, Any], seed: int | None = 5) -> MMDataModule:
    loader = {**LOADER, "sampler": sampler}
    held = {**LOADER, "sampler": SAMPLERS["in order"]}
    return MMDataModule(train_dataloader=loader, val_dataloader=held, seed=seed)


def main(folder: str) -> None:
    seen: dict[str, Any] = {}
    early = module(SAMPLERS["shuffled"])
    early.train_dataloader()  # before there are two processes
    stale = torch.utils.data.DataLoader(Numbers, 3, sampler=DefaultSampler(Numbers))
    given = torch.utils.data.DataLoader(Numbers, 3)
    seen["asked early"] = fit(early)
    for name, sampler in SAMPLERS.items():
        seen[name] = fit(module(sampler))
    for name, flags in FLAGS.items():
        seen[name] = fit(module(SAMPLERS["shuffled"]), **flags)
    seen["endless, reloaded"] = fit(module(SAMPLERS["endless"]), **FLAGS["reloaded"])
    seen["given"] = fit(MMDataModule(given, given))
    seen["random seed"] = fit(module(SAMPLERS["shuffled"], seed=None))
    try:
        fit(MMDataModule(stale))
    except ValueError as error:
        seen["stale"] = str(error)
    whole = ModelParallelStrategy(data_parallel_size=1, tensor_parallel_size=2)
    seen["tensor parallel"] = fit(module(SAMPLERS["shuffled"], seed=None), whole)
    torch.save(seen, f"{folder}/{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
