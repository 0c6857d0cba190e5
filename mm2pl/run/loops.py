"""What a run does with its data: the loop objects that MMEngine's hooks and users know.

Lightning's Trainer does the looping. A loop here holds what belongs to one stage (loader, evaluator, counters,
validation schedule) and one step, ``run_iter``, which user classes may override.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from mm2pl.logging import HistoryBuffer, print_log
from mm2pl.registry import LOOPS
from mm2pl.run.clock import Timetable, val_interval_at
from mm2pl.structures import BaseDataElement

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from mm2pl.evaluator import Evaluator


class BaseLoop:
    """Hold one stage of a run.

    Args:
        runner: The run this loop belongs to; hooks are called through it.
        dataloader: A loader, or the dict to build one from.
    """

    #: Methods that Lightning's Trainer stands for; a subclass that overrides one cannot be honoured.
    replaced_by_trainer: ClassVar[tuple[str, ...]] = ("run", "run_epoch")

    def __init__(self, runner: Any, dataloader: DataLoader | dict) -> None:
        self._runner = runner
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader, seed=runner.seed, diff_rank_seed=runner.diff_rank_seed
            )
        self.dataloader: Any = dataloader

    @property
    def runner(self) -> Any:
        """The run this loop belongs to."""
        return self._runner

    @property
    def overrides_run_iter(self) -> bool:
        """Whether a user's class replaces the single step."""
        return type(self).run_iter.__module__ != __name__

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Process one batch."""
        raise NotImplementedError

    def _share_metainfo(self, *holders: Any) -> None:
        """Give the data set's ``metainfo`` to the evaluator and the visualizer, as MMEngine does."""
        metainfo = getattr(self.dataloader.dataset, "metainfo", None)
        for holder in holders:
            if holder is not None and metainfo is not None:
                holder.dataset_meta = metainfo


def refuse_own_run(loop: type[BaseLoop]) -> None:
    """Reject a loop class that replaces what Lightning's Trainer does.

    Raises:
        TypeError: If the class overrides ``run`` or ``run_epoch``.
    """
    for name in loop.replaced_by_trainer:
        method = inspect.getattr_static(loop, name, None)
        if method is not None and getattr(method, "__module__", None) != __name__:
            raise TypeError(
                f"{loop.__name__} overrides {name}(), which Lightning's Trainer replaces. A custom loop can override "
                "run_iter(); move what happens around it into a hook (before_train_epoch, after_train_iter, …)."
            )


class _TrainLoop(BaseLoop):
    """What both ways of counting share: the counters, the schedule of validations and the step."""

    by_epoch: ClassVar[bool]
    epoch_length: int = 0  # by iterations there is one epoch, as long as the run
    _max_epochs: int
    _max_iters: int

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        val_begin: int,
        val_interval: int,
        dynamic_intervals: Sequence[tuple[int, int]] | None,
    ) -> None:
        super().__init__(runner, dataloader)
        self._epoch = 0
        self._iter = 0
        self.val_begin = val_begin
        self.val_interval = val_interval
        for _, interval in [(0, val_interval), *(dynamic_intervals or ())]:
            if interval < 1:
                raise ValueError(
                    f"train_cfg: a validation interval of {interval!r} → at least 1 is needed; to train without "
                    "validation, leave out val_dataloader, val_cfg and val_evaluator"
                )
        self.stop_training = False
        self._share_metainfo(runner.visualizer)
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        return self._epoch

    @property
    def iter(self) -> int:
        """Iterations finished so far."""
        return self._iter

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return self._max_iters

    @property
    def timetable(self) -> Timetable:
        """When this run validates and ends, from the loop's attributes as they are now: hooks may change them."""
        return Timetable(
            by_epoch=self.by_epoch,
            end=self.max_epochs if self.by_epoch else self.max_iters,
            epoch_length=self.epoch_length,
            val_begin=self.val_begin,
            milestones=tuple(self.dynamic_milestones),
            intervals=tuple(self.dynamic_intervals),
            # Not `val_loop`, which would build it.
            validates=self.runner._val_loop is not None,
        )

    def _decide_current_val_interval(self) -> None:
        """Take the interval that holds now, for hooks to read; the clock does not read it.

        MMEngine 0.10.7 calls a method of this name after each epoch or iteration, before the validation.
        """
        count = self.epoch if self.by_epoch else self.iter
        self.val_interval = val_interval_at(self.timetable, count)

    def _train_one(self, idx: int, data_batch: Any) -> None:
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        outputs = runner.model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


@LOOPS.register_module()
class EpochBasedTrainLoop(_TrainLoop):
    """Train by epochs; stands for ``train_cfg=dict(by_epoch=True, max_epochs=…)``.

    Args:
        runner: The run this loop belongs to.
        dataloader: A loader, or the dict to build one from.
        max_epochs: Epochs of the whole run.
        val_begin: The first epoch (from 1) that is followed by a validation.
        val_interval: Epochs between validations; the last epoch is always validated.
        dynamic_intervals: Pairs ``(epoch, interval)``: from that epoch on, that interval.

    Raises:
        ValueError: If ``max_epochs`` is not a whole number.
    """

    by_epoch = True

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self._max_epochs = _whole(max_epochs, "max_epochs")
        self.epoch_length = runner.limit_train_batches(len(self.dataloader))
        self._max_iters = self._max_epochs * self.epoch_length

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train on one batch; ``idx`` counts within the epoch."""
        self._train_one(idx, data_batch)


class _InfiniteDataloaderIterator:
    """Refuse what MMagic's ``PGGANFetchDataHook`` does with MMEngine's class of this name.

    The name can be imported, so that the rest of MMagic can.
    """

    def __init__(self, dataloader: DataLoader) -> None:
        raise NotImplementedError(
            f"the loader of a running loop was to be replaced by {type(dataloader).__name__} → Lightning's Trainer "
            "keeps its loader for the whole run → let the data set itself change what it returns"
        )


@LOOPS.register_module()
class IterBasedTrainLoop(_TrainLoop):
    """Train by iterations; stands for ``train_cfg=dict(by_epoch=False, max_iters=…)``.

    Args:
        runner: The run this loop belongs to.
        dataloader: A loader, or the dict to build one from.
        max_iters: Iterations (batches) of the whole run.
        val_begin: The first iteration (from 1) that is followed by a validation.
        val_interval: Iterations between validations; the last iteration is always validated.
        dynamic_intervals: Pairs ``(iteration, interval)``: from that iteration on, that interval.

    Raises:
        ValueError: If ``max_iters`` is not a whole number.
    """

    by_epoch = False

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self._max_iters = runner.limit_train_batches(_whole(max_iters, "max_iters"))
        self._max_epochs = 1

    def run_iter(self, data_batch: Any) -> None:  # type: ignore[override]
        """Train on one batch."""
        self._train_one(self._iter, data_batch)


class _EvalLoop(BaseLoop):
    """What validation and test share: an evaluator, and losses that a model may report."""

    stage: ClassVar[str]

    def __init__(
        self,
        runner: Any,
        dataloader: DataLoader | dict,
        evaluator: Evaluator | dict | list,
        fp16: bool = False,
    ) -> None:
        super().__init__(runner, dataloader)
        self.evaluator = runner.build_evaluator(evaluator)
        self.fp16 = fp16
        self.losses: dict[str, HistoryBuffer] = {}
        self._share_metainfo(self.evaluator, runner.visualizer)

    def step(self, data_batch: Any) -> Any:
        """Run the model on one batch, feed the evaluator, return the predictions."""
        step = getattr(self.runner.model, f"{self.stage}_step")
        with torch.autocast(self.runner.device.type) if self.fp16 else nullcontext():
            outputs = step(data_batch)
        outputs = split_losses(outputs, self.losses)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        return outputs

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Evaluate one batch, hooks included."""
        call_hook = self.runner.call_hook
        call_hook(f"before_{self.stage}_iter", batch_idx=idx, data_batch=data_batch)
        outputs = self.step(data_batch)
        call_hook(f"after_{self.stage}_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)

    def metrics(self) -> dict[str, Any]:
        """Reduce what ``run_iter`` collected over the data set (all ranks) to named values."""
        metrics = self.evaluator.evaluate(len(self.dataloader.dataset))
        if self.losses:
            means = {name: buffer.mean() for name, buffer in self.losses.items()}
            total = sum(value for name, value in means.items() if "loss" in name)
            metrics.update(means, **{f"{self.stage}_loss": total})
        self.losses.clear()
        return metrics

    def run(self) -> dict[str, Any]:
        """Evaluate the whole data set now, outside Lightning's loop, for hooks that ask for it."""
        runner = self.runner
        runner.call_hook(f"before_{self.stage}")
        runner.call_hook(f"before_{self.stage}_epoch")
        runner.model.eval()
        self.losses.clear()
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        metrics = self.metrics()
        runner.call_hook(f"after_{self.stage}_epoch", metrics=metrics)
        runner.call_hook(f"after_{self.stage}")
        return metrics


@LOOPS.register_module()
class ValLoop(_EvalLoop):
    """Validate; stands for ``val_cfg=dict(fp16=…)``."""

    stage = "val"

    @property
    def val_loss(self) -> dict[str, HistoryBuffer]:
        """Losses that the model reported among its predictions."""
        return self.losses


@LOOPS.register_module()
class TestLoop(_EvalLoop):
    """Test; stands for ``test_cfg=dict(fp16=…)``."""

    __test__ = False
    stage = "test"

    @property
    def test_loss(self) -> dict[str, HistoryBuffer]:
        """Losses that the model reported among its predictions."""
        return self.losses


def calc_dynamic_intervals(
    start_interval: int, dynamic_interval_list: Sequence[tuple[int, int]] | None = None
) -> tuple[list[int], list[int]]:
    """Split ``dynamic_intervals`` into milestones and the intervals that hold from them on.

    >>> calc_dynamic_intervals(10, [(280, 1)])
    ([0, 280], [10, 1])
    """
    pairs = [(0, start_interval), *(dynamic_interval_list or ())]
    return [milestone for milestone, _ in pairs], [interval for _, interval in pairs]


def split_losses(outputs: Any, losses: dict[str, HistoryBuffer]) -> Any:
    """Move a last element that carries only ``loss`` from the predictions into ``losses``."""
    if not isinstance(outputs, Sequence) or not len(outputs):
        return outputs
    last: Any = outputs[-1]
    if not (isinstance(last, BaseDataElement) and last.keys() == ["loss"]):
        return outputs
    losses_of_batch: Any = last.get("loss")
    for name, value in losses_of_batch.items():
        buffer = losses.setdefault(name, HistoryBuffer())
        for part in value if isinstance(value, (list, tuple)) else [value]:
            buffer.update(part.item())
    return outputs[:-1]


def next_pass(dataloader: Any, epoch: int) -> None:
    """Tell a finite loader's sampler that pass ``epoch`` begins, and the user that the data were used up."""
    print_log(
        "Reach the end of the dataloader, it will be restarted and continue to iterate. "
        "`InfiniteSampler` avoids the pause.",
        logger="current",
    )
    set_sampler_epoch(dataloader, epoch)


def set_sampler_epoch(dataloader: Any, epoch: int) -> None:
    """Call ``set_epoch`` of the loader's sampler, or of its batch sampler's sampler, if there is one."""
    sampler = getattr(dataloader, "sampler", None)
    inner = getattr(getattr(dataloader, "batch_sampler", None), "sampler", None)
    for candidate in (sampler, inner):
        if candidate is not None and hasattr(candidate, "set_epoch"):
            candidate.set_epoch(epoch)
            return


def _whole(value: Any, name: str) -> int:
    if not isinstance(value, int | float) or int(value) != value or value < 1:
        raise ValueError(f"train_cfg: {name}={value!r} → a whole number of at least 1 is needed")
    return int(value)
