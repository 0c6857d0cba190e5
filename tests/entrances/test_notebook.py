"""The cells of a notebook: run again, interrupted, and with a second Runner."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.entrances.notebook import executed, needs_notebook
from tests.versions.project import CONFIG

pytestmark = [needs_notebook, pytest.mark.slow]

START = """
import os, signal
import torch
from mm2pl.config import Config
from mm2pl.hooks import Hook
from mm2pl.runner import Runner
from tests.versions.project import SmokeModel, bare

def config(**more):
    return Config({**Config.fromfile("config.py"), "log_level": "WARNING", **more})

def is_bare(runner, epochs=2, **shares):
    found = runner.model.state_dict()
    return all(torch.equal(found[name], value) for name, value in bare(epochs, **shares).items())
"""
DEFINE = """
from mm2pl.registry import MODELS

@MODELS.register_module()
class CellModel(SmokeModel):
    pass
"""
TRAIN = """
runner = Runner.from_cfg(config(model=dict(type="CellModel")))
runner.train()
print("trained", type(runner.model) is CellModel, is_bare(runner), runner.test())
"""
STOP = """
class Stop(Hook):
    armed = True

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == 7 and not runner.cfg.resume and self.armed:
            os.killpg(os.getpgid(0), signal.SIGINT)  # as Jupyter's button: forked processes too

def stopped(**more):
    runner = Runner.from_cfg(config(work_dir="stopped", custom_hooks=[Stop()], **more), trainer=FLAGS)
    try:
        runner.train()
    except KeyboardInterrupt as error:
        print(error, "at", runner.iter)
    return runner

FLAGS = {}
runner = stopped(resume=False)
"""
RESUMED = """
second = stopped(resume=True)
print("resumed", second.iter, is_bare(second))
"""
AGAIN = """
Stop.armed = False
runner.train()
print("went on to", runner.iter)
"""
FORKED = """
import multiprocessing
FLAGS = dict(devices=2, accelerator="cpu", strategy="ddp_notebook")
half = {**config().train_dataloader, "batch_size": 4}
runner = stopped(resume=False, train_dataloader=half)
print("alive", multiprocessing.active_children())
second = stopped(resume=True, train_dataloader=half)
print("resumed", is_bare(second, batch=8, processes=2), second.test())
"""


def test_cells_are_run_again_and_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.py").write_text(CONFIG)
    said = executed(START, DEFINE, TRAIN, DEFINE, TRAIN, STOP, RESUMED, AGAIN)
    accuracy = "{'smoke/accuracy': 0.925}"
    assert said.count(f"trained True True {accuracy}") == 2
    assert "Stopped in epoch 2 after 7 of 10 iterations" in said
    assert "the run has been stopped at 7" in said
    assert "resumed 10 True" in said
    # MMEngine 0.10.7 begins the epoch anew, and goes on counting.
    assert "went on to 12" in said


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_processes_are_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.py").write_text(CONFIG)
    said = executed(START, STOP.replace("runner = stopped(resume=False)", ""), FORKED)
    assert "Stopped in forked processes; the newest checkpoint is" in said
    assert "alive []" in said
    assert "resumed True {'smoke/accuracy'" in said
