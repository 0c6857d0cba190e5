"""CheckpointHook next to MMEngine's over random runs: files, log lines, message hub, arguments."""

from __future__ import annotations

import os
import random
from pathlib import Path
from types import SimpleNamespace

import pytest

from mm2pl.hooks import CheckpointHook
from mm2pl.logging import MessageHub

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.hooks")
their_logging = pytest.importorskip("mmengine.logging")


class Run:
    """Walk one hook through a run in the order of MMEngine's loops."""

    def __init__(self, hook, hub, work_dir, epochs, batches, by_epoch, metrics):
        self.hook, self.message_hub, self.work_dir = hook, hub, str(work_dir)
        self.epoch, self.iter = 0, 0
        self.max_epochs, self.max_iters = epochs, epochs * batches
        self.batches, self.by_epoch, self.metrics = batches, by_epoch, metrics
        self.lines: list[str] = []
        self.calls: list[tuple] = []
        self.logger = SimpleNamespace(info=self.lines.append, warning=self.lines.append)
        os.makedirs(work_dir)

    def save_checkpoint(self, out_dir, filename, file_client_args=None, **kwargs):
        info = {k: v for k, v in self.message_hub.runtime_info.items() if k != "outdated_ckpts"}
        self.calls.append((filename, kwargs | {"meta": dict(kwargs["meta"])}, str(info)))
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        Path(out_dir, filename).write_text("")

    def go(self, until=None):
        self.hook.before_train(self)
        while self.epoch < self.max_epochs:
            for idx in range(self.batches):
                self.hook.after_train_iter(self, idx, None, None)
                self.iter += 1
                if not self.by_epoch:
                    self.hook.after_val_epoch(self, self.metrics(self.iter))
            self.hook.after_train_epoch(self)
            self.epoch += 1
            if self.by_epoch:
                self.hook.after_val_epoch(self, self.metrics(self.epoch))
            if self.epoch == until:
                return
        self.hook.after_train(self)

    def result(self):
        root = os.path.dirname(self.work_dir)
        files = {
            os.path.relpath(os.path.join(folder, name), root)
            for folder, _, names in os.walk(root)
            for name in names
        }
        last = Path(self.work_dir, "last_checkpoint")
        info = {k: v for k, v in self.message_hub.runtime_info.items() if k != "outdated_ckpts"}
        text = str((files, self.lines, self.calls, info))
        return (text + (last.read_text() if last.exists() else "")).replace(root, "ROOT")


def scenario(seed):
    rng = random.Random(seed)
    by_epoch = rng.random() < 0.6
    keys = rng.choice([None, "acc", "auto", ["acc"], ["acc", "val/loss"], ["val/loss", "x"]])
    rule = {None: [None], "acc": [None, "less"], "auto": [None, ["greater"]]}
    arguments = {
        "interval": rng.choice([-1, 1, 2, 3]),
        "by_epoch": by_epoch,
        "max_keep_ckpts": rng.choice([-1, 1, 2, 3]),
        "save_last": rng.random() < 0.7,
        "save_begin": rng.choice([0, 0, 1, 2]),
        "save_best": keys,
        "rule": rng.choice(rule.get(keys if isinstance(keys, str) else None, [None])),
        "save_optimizer": rng.random() < 0.5,
        "filename_tmpl": rng.choice([None, "x{}.pth"]),
    }
    if keys == ["val/loss", "x"]:
        arguments["rule"] = ["less", "greater"]
    scores = [
        {"acc": rng.randint(0, 5) / 5, "val/loss": rng.random(), "x": rng.choice([None, 0.5, 0.7])}
        for _ in range(99)
    ]
    if rng.random() < 0.1:
        scores[2] = {}
    return arguments, scores, rng.choice([1, 3, 5]), rng.choice([1, 2, 3]), rng.random() < 0.3


@pytest.mark.parametrize("seed", range(60))
def test_random_runs(tmp_path, seed):
    arguments, scores, epochs, batches, other_dir = scenario(seed)
    results = []
    for name, hook_class, hub in (
        ("ours", CheckpointHook, MessageHub("ours")),
        ("theirs", theirs.CheckpointHook, their_logging.MessageHub("theirs")),
    ):
        root = tmp_path / name
        root.mkdir()
        own = {"out_dir": str(root / "out")} if other_dir else {}
        plan = (epochs, batches, arguments["by_epoch"], scores.__getitem__)
        first = Run(hook_class(**arguments, **own), hub, root / "exp", *plan)
        first.go(until=2)
        # Resume with a new hook, which keeps fewer files than the old one.
        fewer = max(arguments["max_keep_ckpts"] - 1, 1) if arguments["max_keep_ckpts"] > 0 else -1
        second = Run.__new__(Run)
        resumed = {**arguments, **own, "max_keep_ckpts": fewer}
        second.__dict__.update(first.__dict__, hook=hook_class(**resumed))
        # MMEngine forgets over a resume into which file the best score belongs; here it goes on as if uninterrupted.
        second.hook.last_ckpt = first.hook.last_ckpt
        second.go()
        results.append(second.result())
    assert results[0] == results[1]


@pytest.mark.parametrize("key", ["acc", "top1", "AR@100", "bbox_mAP", "val_loss", "mean_AUC"])
def test_the_same_rule_is_inferred(key):
    assert CheckpointHook(save_best=key).rules == theirs.CheckpointHook(save_best=key).rules
