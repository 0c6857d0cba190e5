"""A guest in two processes, under a config and by hand: ``python guest_in_two.py FOLDER``."""

from __future__ import annotations

import sys

import torch
from lightning.pytorch import Trainer, seed_everything

from mm2pl.runner import Runner
from tests.bridges import QUIET
from tests.lightning.guests import Classifier, Data

DEVICES = {"devices": 2, "accelerator": "cpu"}

if __name__ == "__main__":
    # Without dropout: Lightning draws anew in each process when they meet, a run does not.
    arguments = {"width": 6, "dropout": 0.0}
    runner = Runner(
        model={"type": Classifier, **arguments},
        work_dir=sys.argv[1],
        train_cfg={"by_epoch": True, "max_epochs": 3},
        val_cfg={},
        randomness={"seed": 3},
        cfg={"datamodule": {"type": Data}},
        trainer=DEVICES,
    )
    runner.train()
    seed_everything(3)
    module = Classifier(**arguments)
    flags = {**QUIET, **DEVICES, "max_epochs": 3, "num_sanity_val_steps": 0}
    Trainer(**flags, strategy="ddp").fit(module, datamodule=Data())
    ours, theirs = runner.model.state_dict(), module.state_dict()
    same = all(torch.equal(ours[name], value) for name, value in theirs.items())
    print(f"process {runner.rank}: {len(module.losses)} {same} {ours.keys() == theirs.keys()}")
