"""A runner small enough to see through, with MMEngine's interface for hooks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from mm2pl.logging import MessageHub


class Log(list):
    """Collects lines instead of printing them."""

    handlers = ()

    def info(self, text: str) -> None:
        self.append(text)

    warning = info


class Saved(list):
    """What ``save_checkpoint`` was asked for; each call leaves a file."""


class StubRunner:
    """Counts as MMEngine's loops do and calls hooks in their order; nothing is learnt."""

    def __init__(self, work_dir: Path, *hooks, epochs=2, batches=3, scores=()):
        self.work_dir = str(work_dir)
        self.log_dir = str(work_dir / "log")
        self.timestamp = "20260101_000000"
        self.experiment_name = "stub"
        self.hooks = list(hooks)
        self.epoch = self.iter = 0
        self.max_epochs, self.max_iters = epochs, epochs * batches
        self.seed = 7
        self.cfg = SimpleNamespace(pretty_text="a = 1\n")
        self.model = torch.nn.Linear(2, 1)
        self.optim_wrapper = SimpleNamespace(get_lr=lambda: {"lr": [0.1]})
        self.param_schedulers = []
        self.message_hub = MessageHub("stub")
        self.logger = Log()
        self.visualizer = SimpleNamespace(
            close=lambda: None, add_scalars=lambda tag, **kw: self.scalars.append((tag, kw))
        )
        self.scalars = []
        self.log_processor = SimpleNamespace(
            get_log_after_iter=lambda r, i, mode: ({"i": i}, f"{mode} {i}"),
            get_log_after_epoch=lambda r, i, mode, **kw: ({"n": i}, f"{mode} of {i}"),
        )
        self.train_loop = SimpleNamespace(stop_training=False, dataloader=range(batches))
        self.val_loop = self.test_loop = SimpleNamespace(dataloader=range(2))
        self.train_dataloader, self.val_dataloader = range(batches), range(2)
        self.test_dataloader = self.val_dataloader
        self.saved = Saved()
        self.scores = list(scores)

    def save_checkpoint(self, out_dir, filename, **kwargs):
        self.saved.append((filename, kwargs))
        Path(out_dir, filename).parent.mkdir(parents=True, exist_ok=True)
        Path(out_dir, filename).write_text("")

    def call_hook(self, point, **kwargs):
        for hook in self.hooks:
            getattr(hook, point)(self, **kwargs)

    def train(self):
        self.call_hook("before_run")
        self.call_hook("before_train")
        while self.epoch < self.max_epochs and not self.train_loop.stop_training:
            self.call_hook("before_train_epoch")
            for idx, _ in enumerate(self.train_dataloader):
                self.call_hook("before_train_iter", batch_idx=idx, data_batch=None)
                outputs = {"loss": torch.tensor(1.0)}
                self.call_hook("after_train_iter", batch_idx=idx, data_batch=None, outputs=outputs)
                self.iter += 1
            self.call_hook("after_train_epoch")
            self.epoch += 1
            if self.scores:
                self.evaluate("val", {"acc": self.scores.pop(0)})
        self.call_hook("after_train")
        self.call_hook("after_run")

    def evaluate(self, mode, metrics):
        self.call_hook(f"before_{mode}")
        self.call_hook(f"before_{mode}_epoch")
        for idx in range(2):
            self.call_hook(f"before_{mode}_iter", batch_idx=idx, data_batch=None)
            self.call_hook(f"after_{mode}_iter", batch_idx=idx, data_batch=None, outputs=[])
        self.call_hook(f"after_{mode}_epoch", metrics=metrics)
        self.call_hook(f"after_{mode}")


@pytest.fixture
def make_runner(tmp_path):
    """Return a function that builds a stub runner for some hooks."""
    return lambda *hooks, **kwargs: StubRunner(tmp_path / "work" / "exp", *hooks, **kwargs)
