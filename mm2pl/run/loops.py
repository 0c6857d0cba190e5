"""What a run does with its data: the loop objects that MMEngine's hooks and users know.

Lightning's Trainer does the looping as long as ``run`` and ``run_epoch`` are those of here. A loop then holds what
belongs to one stage (loader, evaluator, counters, validation schedule) and one step, ``run_iter``, which user classes
may override. A class with its own ``run`` or ``run_epoch`` drives, and what it calls of these classes does the same.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.dataset.utils import length_of
from mm2pl.errors import ArgumentError
from mm2pl.registry import LOOPS
from mm2pl.run.base_loop import BaseLoop
from mm2pl.run.clock import (
    Event,
    Position,
    Timetable,
    after_batch,
    ending,
    val_interval_at,
    validates_after,
)
from mm2pl.run.model import train_step
from mm2pl.run.stream import TrainStream

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from mm2pl.run.protocols import LoaderLike, RunnerOfRunLike


class TrainLoop(BaseLoop):
    """What both ways of counting share: the counters, the schedule of validations and the step."""

    _runner: RunnerOfRunLike
    _max_epochs: int
    _max_iters: int
    epoch_length: int
    """Batches of one of Lightning's epochs: of an epoch, or by iterations of the whole run."""
    follows_clock = False
    """Whether MMEngine's ``run`` is on the way, called by a class that drives: what follows a batch is known then."""
    most_iters: float = math.inf
    """The iterations after which ``Trainer(max_steps=…)`` ends the run."""

    def __init__(
        self,
        runner: RunnerOfRunLike,
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
                raise ArgumentError(
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
        """Epochs of the whole run, the last of them maybe cut short."""
        if self.by_epoch and self.most_iters < self._max_iters:
            return math.ceil(self.most_iters / self.epoch_length)
        return self._max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        return int(min(self._max_iters, self.most_iters))

    @property
    def length(self) -> int:
        """Epochs or iterations of the whole run, whichever this loop counts."""
        return self.max_epochs if self.by_epoch else self.max_iters

    @property
    def times(self) -> Timetable:
        """When this loop validates and ends, as its attributes say now: hooks may change them during the run."""
        return _timetable(
            self.by_epoch,
            self.length,
            self.epoch_length,
            self.val_begin,
            tuple(self.dynamic_milestones),
            tuple(self.dynamic_intervals),
            self._runner.has_val_loop,
        )

    def follows(self, batch: int, uncounted: int = 0) -> tuple[Event, ...]:
        """Return what follows a batch, in order.

        Args:
            batch: Its number in the open epoch, from 1.
            uncounted: 1 while the batch's own hooks are being called, before ``iter`` counts it.
        """
        here = Position(self._epoch, self._iter + uncounted, batch)
        return after_batch(self.times, here, self.stop_training)

    def is_over(self) -> bool:
        """Return whether no batch follows, asked between two epochs, or by iterations between two batches."""
        return bool(ending(self.times, Position(self._epoch, self._iter), self.stop_training))

    def measure(self) -> None:
        """Take the length of an epoch from the loader, which may be another one than it was, or have been changed."""

    def end_after(self, epochs: int) -> None:
        """Change the length of a run by epochs."""
        self._max_epochs, self._max_iters = epochs, epochs * self.epoch_length

    def end_after_iters(self, iters: float) -> None:
        """Change the length of a run to a number of batches; by epochs, the last epoch may then be cut short."""
        if self.by_epoch:
            self.end_after(math.ceil(iters / self.epoch_length))
        else:
            self._max_iters = int(iters)

    def count_iter(self) -> None:
        """Count one more iteration."""
        self._iter += 1

    def count_epoch(self) -> None:
        """Count one more epoch."""
        self._epoch += 1

    def _decide_current_val_interval(self) -> None:
        # MMEngine 0.10.7 calls it after each epoch or iteration, before the validation; projects' loops override it.
        times = self.times
        self.val_interval = val_interval_at(times, self._epoch if times.by_epoch else self._iter)

    def decided(self) -> tuple[Event, ...]:
        """Return what follows the epoch or the iteration that has just been counted, as MMEngine's loops decide it.

        Unlike :meth:`follows` it takes up the interval that holds from here on, for hooks that read ``val_interval``.
        """
        self._decide_current_val_interval()
        # By the attribute, which a project's `_decide_current_val_interval` may have set in its own way.
        times = _timetable(
            self.by_epoch,
            self.length,
            0,
            self.val_begin,
            (0,),
            (self.val_interval,),
            self._runner.has_val_loop,
        )
        count = self._epoch if self.by_epoch else self._iter
        validation = (Event.VALIDATE,) if validates_after(times, count) else ()
        return validation + ending(times, Position(self._epoch, self._iter), self.stop_training)

    def _validate_if_due(self) -> None:
        if Event.VALIDATE in self.decided():
            self._runner.val_loop.run()

    def _train_one(self, idx: int, data_batch: object) -> None:
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        outputs = train_step(runner.model, data_batch, runner.optim_wrapper)
        runner.call_hook("after_train_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._iter += 1


@LOOPS.register_module()
class EpochBasedTrainLoop(TrainLoop):
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
        runner: RunnerOfRunLike,
        dataloader: DataLoader | dict,
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self._max_epochs = _whole(max_epochs, "max_epochs")
        self.measure()
        # MMEngine 0.10.7 leaves it as it is here, also where the loader is replaced later.
        self._max_iters = self._max_epochs * self.epoch_length

    def measure(self) -> None:
        """Take the length of an epoch from the loader, which may be another one than it was, or have been changed.

        Raises:
            ValueError: The loader has no length.
        """
        length = length_of(self.dataloader)
        if length is None:
            raise ArgumentError(
                f"an epoch of {type(getattr(self.dataloader, 'dataset', self.dataloader)).__name__}, which has no "
                "length → schedules, checkpoints and the log must know where it ends → give the data set a __len__, "
                "or train by iterations: train_cfg=dict(by_epoch=False, max_iters=…)"
            )
        self.epoch_length = self._runner.limit_train_batches(length)

    def run(self) -> Any:
        """Train for the rest of the run; for a user's class that calls it, and then drives."""
        self.follows_clock = True
        self._runner.call_hook("before_train")
        while not self.is_over():
            self.run_epoch()
            self._validate_if_due()
        self._runner.call_hook("after_train")
        return self._runner.model

    def run_epoch(self) -> None:
        """Train for one epoch; for a user's class that calls it, and then drives."""
        self._runner.call_hook("before_train_epoch")
        self.measure()
        self._runner.model.train()
        for idx, data_batch in enumerate(self.dataloader):
            self.run_iter(idx, data_batch)
        self._runner.call_hook("after_train_epoch")
        self.count_epoch()

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train on one batch; ``idx`` counts within the epoch."""
        self._train_one(idx, data_batch)

    standard: ClassVar[dict[str, Any]] = {
        "run": run,
        "run_epoch": run_epoch,
        "run_iter": run_iter,
    }


class _InfiniteDataloaderIterator:
    """Take batches from a loader for ever, pass after pass; MMEngine's class of this name.

    Args:
        dataloader: The loader; its iterator is made now, which draws a random number.
    """

    def __init__(self, dataloader: LoaderLike) -> None:
        self.stream = TrainStream(dataloader, length=sys.maxsize, endless=True)
        self.stream.open()
        self._batches = iter(self.stream)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._batches)


@LOOPS.register_module()
class IterBasedTrainLoop(TrainLoop):
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
        runner: RunnerOfRunLike,
        dataloader: DataLoader | dict,
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals)
        self._max_iters = runner.limit_train_batches(_whole(max_iters, "max_iters"))
        self._max_epochs = 1
        self._data: Any = _InfiniteDataloaderIterator(self.dataloader)
        self._opened = self.dataloader

    @property
    def epoch_length(self) -> int:  # type: ignore[override]
        """Batches of the one epoch that Lightning sees: those of the whole run."""
        return self.max_iters

    @property
    def dataloader_iterator(self) -> Any:
        """What the batches come from; a hook may assign another, from which the next batch is then taken."""
        return self._data

    @dataloader_iterator.setter
    def dataloader_iterator(self, value: Any) -> None:
        if self.drives:
            self._data = value
        elif isinstance(value, _InfiniteDataloaderIterator):
            # The Trainer keeps its stream for the whole run.
            self._data.stream.take_over(value.stream)
        else:
            raise ArgumentError(
                f"dataloader_iterator={value!r} → the Trainer takes the batches, and keeps count of them → assign "
                "_InfiniteDataloaderIterator(loader)"
            )

    def stream(self) -> TrainStream | None:
        """Return where the batches come from, begun anew if ``dataloader`` has been assigned; None if not from here."""
        if self._opened is not self.dataloader:
            self._opened = self.dataloader
            self._data = _InfiniteDataloaderIterator(self.dataloader)
        stream: TrainStream | None = getattr(self._data, "stream", None)
        if stream is not None:
            stream.length = stream.stop = self.max_iters
        return stream

    def run(self) -> Any:
        """Train for the rest of the run; for a user's class that calls it, and then drives."""
        self.follows_clock = True
        runner = self._runner
        runner.call_hook("before_train")
        runner.call_hook("before_train_epoch")
        while not self.is_over():
            runner.model.train()
            # A resumed run stands behind the batches that it has had: they are not taken once more.
            self.run_iter(next(self.dataloader_iterator))
            self._validate_if_due()
        runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")
        return runner.model

    def run_iter(self, data_batch: Any) -> None:
        """Train on one batch."""
        self._train_one(self._iter, data_batch)

    standard: ClassVar[dict[str, Any]] = {"run": run, "run_iter": run_iter}


@lru_cache(maxsize=16)
def _timetable(
    by_epoch: bool,
    end: int,
    epoch_length: int,
    val_begin: int,
    milestones: tuple[int, ...],
    intervals: tuple[int, ...],
    validates: bool,
) -> Timetable:
    # Asked after every batch, and nearly always for the same values.
    return Timetable(
        by_epoch=by_epoch,
        end=end,
        epoch_length=epoch_length,
        val_begin=val_begin,
        milestones=milestones,
        intervals=intervals,
        validates=validates,
    )


def calc_dynamic_intervals(
    start_interval: int, dynamic_interval_list: Sequence[tuple[int, int]] | None = None
) -> tuple[list[int], list[int]]:
    """Split ``dynamic_intervals`` into milestones and the intervals that hold from them on.

    >>> calc_dynamic_intervals(10, [(280, 1)])
    ([0, 280], [10, 1])
    """
    pairs = [(0, start_interval), *(dynamic_interval_list or ())]
    return [milestone for milestone, _ in pairs], [interval for _, interval in pairs]


def _whole(value: object, name: str) -> int:
    if not isinstance(value, int | float) or int(value) != value or value < 1:
        raise ArgumentError(f"train_cfg: {name}={value!r} → a whole number of at least 1 is needed")
    return int(value)
