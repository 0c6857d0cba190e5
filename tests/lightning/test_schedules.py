"""Schedules of an imported module, under a user's own Trainer."""

from __future__ import annotations

import pytest
import torch

from mm2pl.lightning import MMLightningModule
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


def test_optimizer_and_schedules_of_torch_are_taken() -> None:
    bridge = module()
    optimizer = torch.optim.SGD(bridge.model.parameters(), lr=0.8)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    other = MMLightningModule(bridge.model, optim_wrapper=optimizer, param_scheduler=schedule)
    trainer(max_epochs=3).fit(other, loader())
    assert other.lr == 0.8 * 0.5**3


def test_lightning_steps_nothing_under_manual_optimization() -> None:
    model = module("own_step").model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.8)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
    bridge = MMLightningModule(model, optim_wrapper=optimizer, param_scheduler=schedule)
    with pytest.raises(ValueError, match=r"Lightning steps none under manual .* → give its dict"):
        trainer().fit(bridge, loader())
