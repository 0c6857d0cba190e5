"""A training by one of the entrances: ``python door.py ENTRANCE STRATEGY``, in a folder with the project's config.

Two processes of a batch of four each; the weights are in ``run/epoch_2.pth``.
"""

from __future__ import annotations

import sys
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningCLI

from mm2pl.config import Config
from mm2pl.lightning import MMDataModule, MMLightningModule, RunCallback
from mm2pl.lightning.fully_shard import MMModelParallelStrategy
from mm2pl.plan.processes import FSDP2
from mm2pl.runner import Runner
from tests.versions import project  # noqa: F401 - LightningCLI builds the model before it comes to custom_imports


def flags(strategy: str) -> dict[str, Any]:
    chosen = MMModelParallelStrategy() if strategy == "FSDP2" else strategy
    return {"devices": 2, "accelerator": "cpu", "strategy": chosen}


def script(strategy: str) -> None:
    Runner.from_cfg(Config.fromfile("config.py"), trainer=flags(strategy)).train()


def own(strategy: str) -> None:
    config = Config.fromfile("config.py")
    module = MMLightningModule(
        config.model, optim_wrapper=config.optim_wrapper, param_scheduler=config.param_scheduler
    )
    data = MMDataModule(train_dataloader=config.train_dataloader)
    run = RunCallback(
        work_dir="run", train_cfg=config.train_cfg, randomness=config.randomness, env_cfg={}
    )
    quiet = {"logger": False, "enable_progress_bar": False, "use_distributed_sampler": False}
    trainer = Trainer(max_epochs=2, callbacks=[run], **quiet, **flags(strategy))
    trainer.fit(module, datamodule=data)


def cli(strategy: str) -> None:
    given = {
        **flags(strategy),
        "strategy": {"class_path": FSDP2} if strategy == "FSDP2" else strategy,
    }
    words = [f"--trainer.{name}={value}" for name, value in given.items()]
    LightningCLI(
        LightningModule,
        LightningDataModule,
        subclass_mode_model=True,
        subclass_mode_data=True,
        args=["fit", "--config", "run.yaml", *words],
        auto_configure_optimizers=False,
        save_config_callback=None,
        seed_everything_default=False,
    )


if __name__ == "__main__":
    {"script": script, "own": own, "cli": cli}[sys.argv[1]](sys.argv[2])
