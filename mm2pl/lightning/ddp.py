"""DDP as a config-driven run uses it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch.overrides.distributed import prepare_for_backward
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.distributed.constants import default_pg_timeout
from torch.nn.parallel import DistributedDataParallel

from mm2pl.lightning.private import let_device_choose_backend


def as_timedelta(seconds: float | timedelta) -> timedelta:
    """Return a time as Lightning wants it; MMEngine's ``dist_cfg`` gives seconds."""
    return seconds if isinstance(seconds, timedelta) else timedelta(seconds=seconds)


UNREACHED = "Expected to have finished reduction in the prior iteration"
"""How torch begins to say so, at the step after."""


class MMDDPStrategy(DDPStrategy):
    """Broadcast buffers when ``MMDistributedDataParallel`` does: before the forward passes of training, if asked for.

    Lightning 2.6 does so before the first one only, since the backward pass of manual optimization lies within torch's
    forward; and before validation, where MMEngine uses the running means that each process has.

    Released configs ask for the backend ``nccl``; on a CPU, where there is none, ``--trainer.devices`` goes without.

    Args:
        timeout: The longest wait for another process, in seconds as in MMEngine's ``dist_cfg``, or as Lightning's.
    """

    hands_on_to = (DDPStrategy, DistributedDataParallel)
    """Who takes the other arguments."""

    _averaged = True

    def __init__(self, *, timeout: float | timedelta = default_pg_timeout, **kwargs: Any) -> None:
        super().__init__(timeout=as_timedelta(timeout), **kwargs)

    def setup_environment(self) -> None:
        """Join the other processes."""
        if self.process_group_backend == "nccl" and self.root_device.type == "cpu":
            let_device_choose_backend(self)
        super().setup_environment()

    # Overriding _setup_model would hide DDP's arguments from jsonargparse 4.53, which finds them in its source.
    def configure_ddp(self) -> None:
        """Wrap the module."""
        with warnings.catch_warnings():  # torch 2.13 has renamed what MMEngine's configs call it
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            super().configure_ddp()

    def post_backward(self, closure_loss: Tensor) -> None:
        """Note whether this backward pass has averaged gradients."""
        super().post_backward(closure_loss)
        self._averaged = getattr(self.model, "require_forward_param_sync", True)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Train on a batch, and let the next forward pass broadcast if this one's gradients were averaged."""
        self._averaged = True
        output = super().training_step(*args, **kwargs)
        model, module = self.model, self.lightning_module
        if isinstance(model, DistributedDataParallel) and not module.automatic_optimization:  # type: ignore[union-attr]
            model.require_forward_param_sync = self._averaged
        return output

    def on_exception(self, exception: BaseException) -> None:
        """Say what to do where a loss has not reached all parameters; Lightning 2.6 names its strategy."""
        text = str(exception)
        if UNREACHED not in text or not isinstance(self.model, DistributedDataParallel):
            return
        names = [n for n, p in self.model.module.named_parameters() if p.requires_grad]
        # torch 2.13 counts them in its own order, in the last line for this process.
        _, _, counted = text.partition("did not receive grad for rank")
        numbers = [
            int(n) for n in counted.partition(":")[2].partition("\n")[0].split() if n.isdigit()
        ]
        found = [names[n].removeprefix("model.") for n in numbers if n < len(names)]
        exception.args = (
            f"the loss has not reached {', '.join(found[:5]) or 'some parameters'}{', …' * (len(found) > 5)} → "
            "find_unused_parameters=True in the config, if that is meant; else freeze them, or let the loss depend on "
            "them",
        )

    def validation_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module itself."""
        with self.precision_plugin.val_step_context():
            return self.lightning_module.validation_step(*args, **kwargs)  # type: ignore[union-attr]

    def test_step(self, *args: Any, **kwargs: Any) -> Any:
        """Call the module itself."""
        with self.precision_plugin.test_step_context():
            return self.lightning_module.test_step(*args, **kwargs)  # type: ignore[union-attr]


@contextmanager
def averaged_outside(wrapped: Any, model: Any, holds_back: Callable[[], bool]) -> Iterator[None]:
    """Let forward passes of a model do what those of DDP do, where its steps do not go through DDP.

    DDP averages the gradients of the one backward pass that follows its ``forward``. Under manual optimization
    Lightning 2.6 makes it ready in ``manual_backward`` only, so that ``loss.backward()`` in a user's loop would leave
    each process with its own gradients.

    Args:
        wrapped: DDP around the module that has the model; nothing is done for anything else.
        model: What is called.
        holds_back: Return whether the next backward pass only adds to the gradients.
    """
    if not isinstance(wrapped, DistributedDataParallel):
        yield
        return

    def before(model: Any, args: Any) -> None:
        if (
            wrapped.broadcast_buffers
            and wrapped.require_forward_param_sync
            and torch.is_grad_enabled()
        ):
            for buffer in wrapped.modules_buffers:
                torch.distributed.broadcast(buffer, src=0)

    def after(model: Any, args: Any, output: Any) -> None:
        if torch.is_grad_enabled():
            # An accumulating optimizer wrapper has said in `optim_context` that this batch is only added.
            with wrapped.no_sync() if holds_back() else nullcontext():
                prepare_for_backward(wrapped, output)

    handles = (
        model.register_forward_pre_hook(before),
        model.register_forward_hook(after),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
