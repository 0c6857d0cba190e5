"""Runs that count epochs."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from mm2pl.mmcv.runner.base_runner import BaseRunner
from mm2pl.mmcv.runner.builder import RUNNERS
from mm2pl.mmcv.runner.drive import Workflow


@RUNNERS.register_module()
class EpochBasedRunner(BaseRunner):
    """Train epoch by epoch; stands for `mmcv.runner.EpochBasedRunner`. The arguments are those of `BaseRunner`.

    Example:
    >>> import torch
    >>> class Line(torch.nn.Linear):
    ...     def train_step(self, data, optimizer):
    ...         return {"loss": self(data).square().mean(), "num_samples": len(data)}
    >>> model = Line(2, 1)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> runner = EpochBasedRunner(model, optimizer=optimizer, max_epochs=2)
    >>> runner.register_training_hooks({"policy": "step", "step": 1, "gamma": 0.5}, optimizer_config={})
    >>> runner.run([torch.ones(3, 4, 2)], [("train", 1)])
    >>> runner.epoch, runner.iter, runner.current_lr()
    (2, 6, [0.05])
    """

    unit = "epoch"

    @property
    def is_over(self) -> bool:
        """Return whether all epochs are trained."""
        assert self._max_epochs is not None
        return self._epoch >= self._max_epochs

    def run(
        self, data_loaders: list[Any], workflow: Any, max_epochs: int | None = None, **kwargs: Any
    ) -> None:
        """Train and validate along ``workflow``; see `BaseRunner.run`.

        Args:
            data_loaders: One per flow.
            workflow: Mode and number of epochs.
            max_epochs: The runner's, if it was made without.
            kwargs: Handed to the model's steps.
        """
        # MMCV 1.7.2 still takes the length here, with a deprecation warning: scripts of its 0.x days give it.
        self._max_epochs = self._max_epochs if max_epochs is None else max_epochs
        super().run(data_loaders, workflow, **kwargs)

    def _length(self) -> int | None:
        return self._max_epochs

    def _prepare(self, data_loaders: list[Any], flows: list[tuple]) -> list[Any]:
        assert self._max_epochs is not None
        # `max_iters` must be known before `before_run`: cyclic and
        # OneCycle schedules plan their phases there in MMCV 1.7.2.
        # The first training flow decides, even where others have longer loaders.
        for loader, (mode, _) in zip(data_loaders, flows, strict=True):
            if mode == "train":
                self._max_iters = self._max_epochs * len(loader)
                break
        return data_loaders

    def _lightning_epochs(self) -> int:
        assert self._max_epochs is not None
        return self._max_epochs - self._epoch

    def batches_per_lightning_epoch(self, loader: Any) -> int:
        """Return the length of the loader."""
        return 0 if loader is None else len(loader)

    def begin_lightning_epoch(self, workflow: Workflow) -> None:
        """Begin an epoch."""
        # flows may have loaders of their own
        self.trainer.fit_loop.max_batches = len(workflow.loader)
        self._begin_epoch(workflow.loader)

    def _begin_epoch(self, data_loader: Any) -> None:
        assert self._max_epochs is not None
        # In MMCV 1.7.2 the model is in training mode before
        # `before_train_epoch`; hooks may freeze layers again there.
        self.model.train()
        self.mode = "train"
        self.data_loader = data_loader
        # MMCV 1.7.2 computes it anew for the loader of each epoch; by-iteration schedules see the new length.
        self._max_iters = self._max_epochs * len(self.data_loader)
        self.call_hook("before_train_epoch")

    def training_batches(self, workflow: Workflow) -> Any:
        """Yield the batches of an epoch."""
        yield from workflow.loader

    def train_iteration(self, batch: Any, batch_idx: int, workflow: Workflow) -> None:
        """Do one iteration of an epoch."""
        self._train_one(batch, batch_idx, workflow.kwargs)

    def _train_one(self, batch: Any, batch_idx: int, kwargs: dict[str, Any]) -> None:
        # MMCV 1.7.2 counts `iter` up after the hooks of the iteration:
        # `runner.iter + 1` is their number of finished iterations.
        self._inner_iter = batch_idx
        self._iteration(batch, True, kwargs)
        self._iter += 1

    def end_lightning_epoch(self, workflow: Workflow) -> None:
        """End an epoch, and validate if the workflow says so."""
        self._end_epoch()
        if not workflow.to_next_training():
            self.trainer.should_stop = True

    def _end_epoch(self) -> None:
        self.call_hook("after_train_epoch")
        # After the hooks, as in MMCV 1.7.2: in `after_train_epoch` `runner.epoch` is still the index of this epoch.
        self._epoch += 1

    def train(self, data_loader: Any, **kwargs: Any) -> None:
        """Train for one epoch."""
        self._begin_epoch(data_loader)
        for index, batch in enumerate(data_loader):
            self._train_one(batch, index, kwargs)
        self._end_epoch()

    @torch.no_grad()
    def val(self, data_loader: Any, **kwargs: Any) -> None:
        """Run the model's ``val_step`` over a whole loader."""
        self.model.eval()
        self.mode = "val"
        self.data_loader = data_loader
        self.call_hook("before_val_epoch")
        for index, batch in enumerate(data_loader):
            self._inner_iter = index
            # MMCV 1.7.2 hands the arguments of `run` to `train_step`, but drops them in an epoch's validation.
            self._iteration(batch, False, {})
        self.call_hook("after_val_epoch")

    standard: ClassVar[dict[str, Any]] = {"run": run, "train": train}


# MMCV 1.7.2 registers it as 'Runner'. Here that name belongs to MMEngine's Runner in the parent registry.
@RUNNERS.register_module(name="MMCVRunner")
class Runner(EpochBasedRunner):
    """Keep the old name of `EpochBasedRunner`; the arguments are those of `BaseRunner`."""
