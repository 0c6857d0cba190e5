"""Schedules of an imported module, under a user's own Trainer."""

from __future__ import annotations

from typing import Any

import pytest
from lightning.pytorch import Callback

from tests.bridges import loader, module, trainer
from tests.scenarios import accuracy

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


@pytest.mark.parametrize(
    ("span", "halved"),
    [({}, 4), ({"begin": 2}, 3), ({"begin": 2, "end": 4}, 1), ({"end": 4}, 2)],
    ids=str,
)
def test_a_plateau_schedule_counts_epochs(span: dict[str, int], halved: int) -> None:
    """Six validations, all falling short of the first one that is within ``begin`` and ``end``."""
    plateau = {
        **{"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater"},
        **{"patience": 0, "threshold": 1000.0, "factor": 0.5, **span},
    }
    bridge = module(param_scheduler=plateau, val_evaluator={"type": accuracy("mm2pl")})
    trainer(max_epochs=6, num_sanity_val_steps=2).fit(bridge, loader(), loader(16))
    assert bridge.optim_wrapper.get_lr() == {"lr": [0.1 / 2**halved]}


STACKS: dict[str, tuple[list[dict[str, Any]], int]] = {
    "epochs": ([{"type": "StepLR", "step_size": 1, "gamma": 0.5}], 1),
    "batches": ([{"type": "LinearLR", "begin": 2, "end": 6, "by_epoch": False}], 8),
    "both": ([{"type": "LinearLR", "end": 6, "by_epoch": False}, {"type": "StepLR", "step_size": 1}], 8),
    "plateau": ([{"type": "ReduceOnPlateauLR", "monitor": "val_loss"}], 1),
}  # fmt: skip


@pytest.mark.parametrize(("schedules", "ticks"), STACKS.values(), ids=STACKS)
def test_a_module_asks_its_schedules_as_torchs(schedules: Any, ticks: int) -> None:
    """``ticks``: after the first epoch of 8 batches, which is followed by a validation."""
    told: list[Any] = []

    class Asking(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            view = pl_module.lr_schedulers()
            told.append((view.get_last_lr(), view.base_lrs, view.last_epoch))

    bridge = module(param_scheduler=schedules)
    trainer(max_epochs=1, callbacks=[Asking()]).fit(bridge, loader())
    rates = [group["lr"] for group in bridge.optimizers().optimizer.param_groups]
    assert told == [(rates, [0.1], ticks)]
