"""Mixed precision: what the optimizer wrapper says, through the Trainer's plugin."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.lightning import MMLightningModule
from mm2pl.lightning.precision import AmpPrecision
from tests.bridges import SGD, loader, module, trainer
from tests.scenarios import accuracy

pytestmark = pytest.mark.filterwarnings(
    # Lightning's advice to users: no validation loader, few workers, few batches per log line.
    "ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"
)


class Spy(torch.nn.Module):
    """A layer that notes what it computes in, and whether it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)
        self.seen: set[tuple[bool, torch.dtype]] = set()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.linear(x)
        self.seen.add((self.training, out.dtype))
        return out


def with_spy(**kwargs: Any) -> tuple[MMLightningModule, Spy]:
    made = module(**kwargs)
    made.model.net = spy = Spy()
    return made, spy


AMP = {"type": "AmpOptimWrapper", "dtype": "bfloat16", "optimizer": SGD}


@pytest.mark.parametrize("name", ["plain", "own_step"])
def test_amp_runs_through_the_trainers_precision_plugin(name: str) -> None:
    bridge, spy = with_spy(name=name, optim_wrapper=AMP, val_evaluator={"type": accuracy("mm2pl")})
    run = trainer()
    run.fit(bridge, loader(), loader(16))
    assert isinstance(run.precision_plugin, AmpPrecision)
    assert run.precision == "bf16-mixed"
    assert spy.seen == {(True, torch.bfloat16), (False, torch.float32)}
    assert bridge.optim_wrapper.loss_scaler.state_dict()["_growth_tracker"] > 0


def test_amp_under_automatic_optimization_follows_trainer_flags() -> None:
    bridge = module(optim_wrapper={**AMP, "loss_scale": 8.0})
    run = trainer(accumulate_grad_batches=2, gradient_clip_val=1e-3)
    before = {k: v.clone() for k, v in bridge.model.state_dict().items()}
    run.fit(bridge, loader())
    assert run.global_step == 8
    assert bridge.optim_wrapper.loss_scaler.get_scale() == 8.0
    moved = bridge.model.net[0].weight - before["net.0.weight"]
    # Eight steps of lr 0.1 over gradients whose norm, after unscaling, is at most 1e-3.
    assert 0 < moved.norm() <= 8 * 0.1 * 1e-3


def test_the_trainers_own_precision_is_lightnings() -> None:
    bridge, spy = with_spy(val_evaluator={"type": accuracy("mm2pl")})
    trainer(precision="bf16-mixed").fit(bridge, loader(), loader(16))
    assert spy.seen == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_the_trainers_precision_outlives_a_fit_with_amp() -> None:
    run = trainer(precision="bf16-mixed")
    run.fit(module(optim_wrapper=AMP), loader())
    bridge, spy = with_spy(val_evaluator={"type": accuracy("mm2pl")})
    run.fit_loop.max_epochs *= 2
    run.fit(bridge, loader(), loader(16))
    assert spy.seen == {(True, torch.bfloat16), (False, torch.bfloat16)}


def test_the_wrappers_precision_and_another_of_the_trainer() -> None:
    with pytest.raises(ValueError, match=r"precision='64-true'.*'bf16-mixed'.*drop the flag"):
        trainer(precision="64-true").fit(module(optim_wrapper=AMP), loader())


def test_a_trainer_may_fit_again() -> None:
    run = trainer(max_epochs=1)
    accumulating = module(optim_wrapper={"optimizer": SGD, "accumulative_counts": 2})
    run.fit(accumulating, loader())
    run.fit_loop.max_epochs = 2
    run.fit(accumulating, loader())
    assert run.global_step == 8
    run.fit_loop.max_epochs = 3
    run.fit(module(optim_wrapper=AMP), loader())
    assert run.global_step == 16  # and not every second batch
    run.fit_loop.max_epochs = 4
    bridge, spy = with_spy()
    run.fit(bridge, loader())
    assert spy.seen == {(True, torch.float32)}


@pytest.mark.parametrize("name", ["plain", "own_step"])
def test_a_resumed_fit_goes_on_with_the_scale(tmp_path: Any, name: str) -> None:
    wrapper = {**AMP, "loss_scale": {"init_scale": 4.0, "growth_interval": 3}}

    def fitted(epochs: int, path: Any = None) -> Any:
        bridge = module(name, optim_wrapper=wrapper)
        run = trainer(max_epochs=epochs)
        run.fit(bridge, loader(), ckpt_path=path)
        run.save_checkpoint(tmp_path / f"{epochs}.ckpt")
        return bridge

    whole, _ = fitted(2), fitted(1)
    resumed = fitted(2, tmp_path / "1.ckpt")
    scales = [bridge.optim_wrapper.loss_scaler.state_dict() for bridge in (whole, resumed)]
    assert scales[0] == scales[1]
    assert scales[0]["scale"] > 4.0
