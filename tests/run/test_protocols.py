"""What a type checker says of a user's hooks and loops."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

HEAD = """
from collections.abc import Sequence
from typing import Any, Optional, Union
from mm2pl.hooks import CheckpointHook, EMAHook, Hook
from mm2pl.run.eval_loops import ValLoop
from mm2pl.run.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mm2pl.run.protocols import RunnerLike
DATA_BATCH = Optional[Union[dict, tuple, list]]
"""

USERS = """
class Unannotated(EMAHook):
    def before_train(self, runner): pass
    def _after_epoch(self, runner, mode="train"): pass
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None): pass

class WithAny(CheckpointHook):
    def after_train_epoch(self, runner: Any) -> None: pass
    def _before_epoch(self, runner: Any, mode: str = "train") -> None: pass
    def end_of_epoch(self, dataloader: Any, batch_idx: int) -> bool: return False

class LikeMMEngines(Hook):
    def _before_iter(self, runner, batch_idx: int, data_batch: DATA_BATCH = None, mode: str = "train") -> None: pass
    def after_val_iter(
        self, runner, batch_idx: int, data_batch: DATA_BATCH = None, outputs: Optional[Sequence] = None
    ) -> None: pass

class ByEpochs(EpochBasedTrainLoop):
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None: pass

class ByIterations(IterBasedTrainLoop):
    def run_iter(self, data_batch: Sequence[dict]) -> None: pass

class Validation(ValLoop):
    def run_iter(self, idx: int, data_batch: Sequence[dict]) -> None: pass

class Typed(Hook):
    def before_train(self, runner: RunnerLike) -> None:
        reveal_type(runner.epoch)
        reveal_type(runner.model)
        reveal_type(runner.trainer)
        reveal_type(runner.message_hub.get_scalar("train/loss"))
        for batch in runner.train_dataloader:
            runner.logger.info(f"{batch} {runner.train_loop.max_epochs} {runner.val_loop.evaluator}")
        runner.train_loop.stop_training = True
        runner.epok
"""


@pytest.mark.slow
def test_users_hooks_type_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = pytest.importorskip("mypy.api")
    monkeypatch.chdir(ROOT)
    file = tmp_path / "users_project.py"
    file.write_text(HEAD + USERS)
    options = ["--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    said, errors, _ = api.run([*options, "--no-pretty", str(file)])
    assert not errors
    found = [line.split(": ", 1)[1] for line in said.splitlines()[:-1]]
    assert found == [
        'note: Revealed type is "int"',
        'note: Revealed type is "torch.nn.modules.module.Module"',
        'note: Revealed type is "lightning.pytorch.trainer.trainer.Trainer"',
        'note: Revealed type is "mm2pl.logging.history_buffer.HistoryBuffer"',
        'error: "RunnerLike" has no attribute "epok"  [attr-defined]',
    ]
