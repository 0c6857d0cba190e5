"""The acts of training that depend on who drives it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn

from mm2pl.optim.optimizer.autocast import autocast


class TorchExecutor:
    """Cast, run backward, step and no_sync with torch alone.

    An engine that must do these itself (a Trainer's strategy and precision plugin) sets
    ``optim_wrapper.executor`` to an object with these methods. Loss scaling, clipping and counting stay in the wrapper.
    """

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` to the parameters; ``kwargs`` go to `Tensor.backward`."""
        loss.backward(**kwargs)

    def step(
        self,
        optimizer: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler | None = None,
        **kwargs: Any,
    ) -> Any:
        """Step the torch optimizer and return what its step returns; a ``scaler`` leaves out infinite gradients."""
        # GradScaler steps the optimizer itself, so that it can leave the step out.
        if scaler is not None:
            return scaler.step(optimizer, **kwargs)
        return optimizer.step(**kwargs)

    def autocast(self, dtype: torch.dtype | None) -> AbstractContextManager[Any]:
        """Return a context that computes in ``dtype``; None: the device's default."""
        return autocast(dtype=dtype)

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Return a context in which backward does not average gradients over processes."""
        # DistributedDataParallel and FullyShardedDataParallel have it, a plain model does not.
        no_sync: Any = getattr(model, "no_sync", nullcontext)
        return no_sync()
