"""A scheduler of MMEngine's own classes, as toolboxes bring along, on our optimizer wrapper."""

from __future__ import annotations

import pytest
import torch

from mm2pl import optim

pytestmark = pytest.mark.parity


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("by_epoch", [False, True])
def test_a_subclass_of_mmengines_scheduler_drives_our_optimizer(by_epoch, groups):
    theirs = pytest.importorskip("mmengine.optim")
    kind = type("Halving", (theirs.ExponentialLR,), {})
    how = {"by_epoch": True, "convert_to_iter_based": True} if by_epoch else {"by_epoch": False}

    def rates(package):
        parts = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.8}, {"lr": 0.4}]
        parts[1]["params"] = [torch.nn.Parameter(torch.zeros(1))]
        wrapper = package.OptimWrapper(torch.optim.SGD(parts[:groups], lr=0.1))
        if package is theirs:
            options = {"epoch_length": 2, "end": 2} if by_epoch else {"end": 4}
            build = kind.build_iter_from_epoch if by_epoch else kind
            convert = {k: v for k, v in how.items() if k != "convert_to_iter_based"}
            scheduler = build(wrapper, gamma=0.5, **convert, **options)
        else:
            cfg = {"type": kind, "gamma": 0.5, **how}
            counts = {"max_epochs": 2, "max_iters": 4, "epoch_length": 2}
            (scheduler,) = package.build_param_schedulers(cfg, wrapper, **counts)
        assert isinstance(scheduler, theirs.ExponentialLR)
        seen = [wrapper.get_lr()]
        for _ in range(5):
            wrapper.step()
            scheduler.step()
            seen.append(wrapper.get_lr())
        return seen

    ours = rates(optim)
    assert ours == rates(theirs)
    assert ours[3]["lr"][0] == 0.1
    assert ("base_lr" in ours[0]) == (groups == 2)
