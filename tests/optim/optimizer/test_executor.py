"""Who makes backward, step and no_sync."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mm2pl.optim import OptimWrapper, TorchExecutor


class Recorder(TorchExecutor):
    """Note what it is asked for, and do it."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        self.calls.append("backward")
        super().backward(loss, **kwargs)

    def step(self, optimizer: torch.optim.Optimizer, **kwargs: Any) -> Any:
        self.calls.append("step")
        return super().step(optimizer, **kwargs)

    @contextmanager
    def no_sync(self, model: nn.Module) -> Iterator[None]:  # type: ignore[override]
        self.calls.append("no_sync")
        with super().no_sync(model):
            yield


def test_a_wrapper_asks_its_executor() -> None:
    model = nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = OptimWrapper(sgd, accumulative_counts=2, clip_grad={"max_norm": 1})
    wrapper.executor = Recorder()
    for _ in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 1)).sum()
        wrapper.update_params(loss)
    assert wrapper.executor.calls == ["no_sync", "backward", "backward", "step"]


def test_no_sync_is_the_models_if_it_has_one() -> None:
    class Parallel(nn.Module):
        entered = 0

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            self.entered += 1
            yield

    parallel = Parallel()
    for model in (parallel, nn.Linear(1, 1)):
        with TorchExecutor().no_sync(model):
            pass
    assert parallel.entered == 1
