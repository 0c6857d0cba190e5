"""The three acts of training that depend on who drives it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn


class TorchExecutor:
    """Run backward, step and no_sync with torch alone.

    An engine that must do these itself (a Trainer's strategy) sets ``optim_wrapper.executor`` to an
    object with these methods. Loss scaling, clipping and counting stay in the wrapper.
    """

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to the parameters; ``kwargs`` go to `Tensor.backward`."""
        loss.backward(**kwargs)

    def step(self, optimizer: torch.optim.Optimizer, **kwargs: Any) -> Any:
        """Step the torch optimizer, and return what its step returns."""
        return optimizer.step(**kwargs)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which backward does not average gradients over processes."""
        no_sync: Any = getattr(model, "no_sync", nullcontext)
        return no_sync()
