"""Runs that count iterations."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from mm2pl.dataset.utils import set_sampler_epoch
from mm2pl.mmcv.model import validating_as_1x
from mm2pl.mmcv.runner.base_runner import BaseRunner
from mm2pl.mmcv.runner.builder import RUNNERS
from mm2pl.mmcv.runner.drive import Workflow


class IterLoader:
    """A loader that starts again when it runs out, and counts how often.

    Args:
        dataloader: The loader; its iterator is made now.
    """

    def __init__(self, dataloader: Any) -> None:
        self._dataloader = dataloader
        # At once, as in MMCV 1.7.2: torch draws the workers' base seed
        # here, before the first training step draws numbers.
        self.iter_loader = iter(dataloader)
        self._epoch = 0

    @property
    def epoch(self) -> int:
        """Finished passes."""
        return self._epoch

    def __next__(self) -> Any:
        try:
            return next(self.iter_loader)
        except StopIteration:
            # MMCV 1.7.2 never calls `set_epoch(0)`. The second pass is
            # the first one that tells the sampler its number.
            self._epoch += 1
            set_sampler_epoch(self._dataloader, self._epoch)
            self.iter_loader = iter(self._dataloader)
            return next(self.iter_loader)

    # `LoggerHook.end_of_epoch` compares with the length of one pass, though the iterator never ends.
    def __len__(self) -> int:
        return len(self._dataloader)


@RUNNERS.register_module()
class IterBasedRunner(BaseRunner):
    """Train iteration by iteration; stands for `mmcv.runner.IterBasedRunner`.

    The arguments are those of `BaseRunner`; ``run`` takes one loader per flow, which starts again where it ends.
    """

    unit = "iter"

    @property
    def is_over(self) -> bool:
        """Return whether all iterations are done."""
        assert self._max_iters is not None
        return self._iter >= self._max_iters

    def run(
        self, data_loaders: list[Any], workflow: Any, max_iters: int | None = None, **kwargs: Any
    ) -> None:
        """Train and validate along ``workflow``; see `BaseRunner.run`.

        Args:
            data_loaders: One per flow.
            workflow: Mode and number of iterations.
            max_iters: The runner's, if it was made without.
            kwargs: Handed to the model's steps.
        """
        self._max_iters = self._max_iters if max_iters is None else max_iters
        super().run(data_loaders, workflow, **kwargs)

    def _length(self) -> int | None:
        return self._max_iters

    def _prepare(self, data_loaders: list[Any], flows: list[tuple]) -> list[Any]:
        # Validation loaders get an iterator too, which goes on where
        # the last validation stopped: MMCV 1.7.2 does so.
        self._loaders: list[Any] = list(data_loaders)
        return self._loaders

    def _lightning_epochs(self) -> int:
        # MMCV 1.7.2 never calls `before_train_epoch` and `after_train_epoch` in such a run.
        # A CheckpointHook by epoch never saves there, and a schedule by epoch never acts.
        return 1

    def begin_run(self) -> None:
        """Start; the loaders' iterators are made after ``before_run``, as in MMCV."""
        super().begin_run()
        self._loaders[:] = [IterLoader(loader) for loader in self._loaders]
        # Once around the whole run, as in MMCV 1.7.2. IterTimerHook starts its clock there.
        self.call_hook("before_epoch")

    def end_run(self) -> None:
        """End."""
        self.call_hook("after_epoch")
        super().end_run()

    def begin_flow(self) -> None:
        """Count the inner iterations anew."""
        # MMCV 1.7.2 does so for each flow. With [('train', 1)] each hook sees inner_iter == 0.
        self._inner_iter = 0

    def batches_per_lightning_epoch(self, loader: Any) -> int:
        """Return the iterations that are left."""
        assert self._max_iters is not None
        return self._max_iters - self._iter

    def begin_lightning_epoch(self, workflow: Workflow) -> None:
        """Do nothing: the run is one of the Trainer's epochs."""

    def training_batches(self, workflow: Workflow) -> Any:
        """Yield batches until the run is over."""
        while not self.is_over:
            self._begin(workflow.loader, "train")
            yield next(self.data_loader)

    def train_iteration(self, batch: Any, batch_idx: int, workflow: Workflow) -> None:
        """Do one iteration, and validate if the workflow says so."""
        self._train_one(batch, workflow.kwargs)
        # The validations of the workflow run here, between two training steps of the one Lightning epoch.
        if not workflow.to_next_training():
            self.trainer.should_stop = True

    def _train_one(self, batch: Any, kwargs: dict[str, Any]) -> None:
        self._iteration(batch, True, kwargs)
        self._inner_iter += 1
        self._iter += 1

    def train(self, data_loader: Any, **kwargs: Any) -> None:
        """Train on one batch of an `IterLoader`."""
        self._begin(data_loader, "train")
        self._train_one(next(data_loader), kwargs)

    def end_lightning_epoch(self, workflow: Workflow) -> None:
        """Do nothing: the run is one of the Trainer's epochs."""

    def _begin(self, loader: IterLoader, mode: str) -> None:
        # Before every single batch, as in MMCV 1.7.2: a validation flow may have come in between.
        self.model.train(mode == "train")
        self.mode = mode
        self.data_loader = loader
        # `runner.epoch` counts passes over the training loader. A validation leaves it.
        if mode == "train":
            self._epoch = loader.epoch

    @torch.no_grad()
    def val(self, data_loader: Any, **kwargs: Any) -> None:
        """Run the model's ``val_step`` on one batch."""
        self._begin(data_loader, "val")
        # MMCV 1.7.2's IterBasedRunner hands `val_step` the arguments of `run`, but no optimizer.
        # EpochBasedRunner does the reverse.
        self._iteration(next(self.data_loader), False, kwargs)
        self._inner_iter += 1

    standard: ClassVar[dict[str, Any]] = {"run": run, "train": train}

    def _val_step(self, data_batch: object, **kwargs: Any) -> Any:
        with validating_as_1x():
            return self.model.val_step(data_batch, **kwargs)  # type: ignore[operator]

    def _resume_meta(self, meta: dict[str, Any]) -> None:
        # MMCV 1.7.2 keeps the runner's own meta here.
        self._inner_iter = meta["iter"]

    def register_training_hooks(
        self,
        lr_config: Any,
        optimizer_config: Any = None,
        checkpoint_config: Any = None,
        log_config: dict[str, Any] | None = None,
        momentum_config: Any = None,
        timer_config: Any = None,
        custom_hooks_config: Any = None,
    ) -> None:
        """Add what every training needs; schedules, checkpoints and loggers count iterations by default."""
        if isinstance(log_config, dict):
            # Copies: MMCV 1.7.2 writes `by_epoch` into the user's config.
            hooks = [{"by_epoch": False, **hook} for hook in log_config["hooks"]]
            log_config = {**log_config, "hooks": hooks}
        super().register_training_hooks(
            _by_iteration(lr_config),
            optimizer_config,
            _by_iteration(checkpoint_config),
            log_config,
            # MMCV 1.7.2 leaves `by_epoch` of the momentum at True, so that
            # such a schedule never acts in an iteration run.
            momentum_config,
            timer_config,
            custom_hooks_config,
        )


def _by_iteration(config: object) -> Any:
    return {"by_epoch": False, **config} if isinstance(config, dict) else config
