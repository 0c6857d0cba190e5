"""A scheduler of MMEngine's own classes, as toolboxes bring along, on our optimizer wrapper."""

from __future__ import annotations

import pytest
import torch

from mm2pl.optim import OptimWrapper, build_param_schedulers

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("by_epoch", [False, True])
def test_a_subclass_of_mmengines_scheduler_drives_our_optimizer(by_epoch):
    schedulers = pytest.importorskip("mmengine.optim")
    kind = type("Halving", (schedulers.ExponentialLR,), {})
    parameter = torch.nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([parameter], lr=0.8))
    how = {"by_epoch": True, "convert_to_iter_based": True} if by_epoch else {"by_epoch": False}
    cfg = {"type": kind, "gamma": 0.5, **how}
    (scheduler,) = build_param_schedulers(cfg, wrapper, max_epochs=2, epoch_length=2)
    rates = [wrapper.get_lr()["lr"][0]]
    for _ in range(2):
        wrapper.optimizer.step()
        scheduler.step()
        rates.append(wrapper.get_lr()["lr"][0])
    assert isinstance(scheduler, schedulers.ExponentialLR)
    assert rates[0] == 0.8
    assert rates[0] > rates[1] > rates[2]
