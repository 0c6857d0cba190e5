"""Stop a training at the first loss that is NaN or infinite, with a checkpoint of before it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback

from mm2pl.checkpoint import format as files
from mm2pl.errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class LossIsNotFinite(UserError, FloatingPointError):
    """The loss of a batch is NaN or infinite, and nothing has been learned from it."""


class StopBeforeNaN(Callback):
    """Look at each loss before its backward; stop at one that is NaN or infinite, in whichever process it is.

    The file that is written then holds weights, optimizer and buffers as they were before that batch; a resumed run
    begins with the batch. ``mm2pl fit --detect-nan`` puts one into the Trainer. It costs a wait for the device in
    each iteration, a copy of the model's buffers and, with several processes, a collective.

    Raises:
        LossIsNotFinite: Names iteration and file. Gradients that are NaN behind a finite loss are noticed one iteration
            late, when the weights are NaN: no file is written then.
    """

    def __init__(self) -> None:
        self._before: list[tuple[torch.Tensor, torch.Tensor]] = []

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep the buffers: the forward of a bad batch makes the statistics of a BatchNorm NaN."""
        self._before = [(buffer, buffer.clone()) for buffer in pl_module.buffers()]

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: torch.Tensor
    ) -> None:
        """Stop all processes where one has a loss that is NaN or infinite."""
        strategy = trainer.strategy
        bad = ~torch.isfinite(loss.detach()).all()
        # All come here, and all must write the file: a loss that is bad in one process stops every one.
        everywhere = strategy.all_gather(bad).reshape(-1)
        if not everywhere.any():
            return
        with torch.no_grad():
            for buffer, before in self._before:
                buffer.copy_(before)
        number = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        ranks = everywhere.nonzero().flatten().tolist()
        where = f" of process {', '.join(map(str, ranks))}" if len(everywhere) > 1 else ""
        raise LossIsNotFinite(
            f"the loss{where} is NaN or infinite in iteration {number}: "
            f"{self._save(trainer, pl_module, number - 1)}, with a lower learning rate, optim_wrapper.clip_grad or a "
            "longer warm-up, and look at the data of that iteration"
        )

    def _save(self, trainer: Trainer, pl_module: LightningModule, done: int) -> str:
        """Write the file if the weights are sound; return what was done and how to go on."""
        parameters = list(pl_module.parameters())
        gradients = [each.grad for each in parameters if each.grad is not None]  # of an open window
        sound = _are_finite([*parameters, *pl_module.buffers(), *gradients])
        if not trainer.strategy.reduce_boolean_decision(sound, all=True):
            return "the weights are so already, and no checkpoint is written → go on with --resume from one of before"
        path = files.join(trainer.default_root_dir, f"before_nan_iter_{done}.pth")
        trainer.save_checkpoint(path)
        return f"a checkpoint of before that batch is {path} → go on with --resume {path}"


def _are_finite(tensors: Iterable[torch.Tensor]) -> bool:
    return all(bool(torch.isfinite(each.detach()).all()) for each in tensors)
