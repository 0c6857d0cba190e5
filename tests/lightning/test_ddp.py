"""What DDP says of a run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from mm2pl.lightning.ddp import MMDDPStrategy


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


class Module(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.ModuleDict(
            {"frozen": nn.Linear(2, 2), "net": nn.Linear(2, 1), "idle": nn.Linear(2, 1)}
        )
        self.model["frozen"].requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model["net"](x)


@pytest.mark.usefixtures("group")
def test_what_the_loss_has_not_reached_is_named() -> None:
    strategy = MMDDPStrategy()
    strategy.model = DistributedDataParallel(Module())
    strategy.model(torch.ones(1, 2)).sum().backward()
    with pytest.raises(RuntimeError, match="Expected to have finished") as raised:
        strategy.model(torch.ones(1, 2))
    strategy.on_exception(raised.value)
    assert str(raised.value) == (
        "the loss has not reached idle.weight, idle.bias → find_unused_parameters=True in the config, if that is "
        "meant; else freeze them, or let the loss depend on them"
    )


def test_another_error_stays() -> None:
    error = RuntimeError("other")
    MMDDPStrategy().on_exception(error)
    assert error.args == ("other",)
