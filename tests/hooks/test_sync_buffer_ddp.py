"""SyncBuffersHook in two real processes."""

from __future__ import annotations

import os
import subprocess
import sys

WORKER = """
import sys
from types import SimpleNamespace
import torch
import torch.distributed as dist
from mm2pl.hooks import SyncBuffersHook

hook = SyncBuffersHook()  # before the processes know of each other, as in a run that Lightning launches
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
model = torch.nn.BatchNorm1d(2)
runner = SimpleNamespace(model=model)
model.running_mean.fill_(rank)
hook.after_train_epoch(runner)
assert model.running_mean.tolist() == [0.5, 0.5], model.running_mean
model.running_mean.fill_(rank)
hook.before_val_epoch(runner)  # the end of the epoch has just averaged
assert model.running_mean.tolist() == [rank, rank], model.running_mean
hook.before_val_epoch(runner)
assert model.running_mean.tolist() == [0.5, 0.5], model.running_mean
print("averaged")
"""


def test_two_processes(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(tmp_path / "store")],
            stdout=subprocess.PIPE,
            text=True,
            cwd=os.getcwd(),
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert outputs == ["averaged\n"] * 2
