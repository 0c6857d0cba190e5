"""What a run does with its data: the loop objects that MMEngine's hooks and users know.

Lightning's Trainer does the looping. A loop here holds what belongs to one stage (loader, evaluator, counters,
validation schedule) and one step, ``run_iter``, which user classes may override.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.dataset.utils import length_of
from mm2pl.registry import LOOPS
from mm2pl.run.clock import Event, Position, Timetable, after_batch, ending, val_interval_at

if TYPE_CHECKING:
    from torch.utils.data import DataLoader
    from typing_extensions import Self

    from mm2pl.run.protocols import LoaderLike, ModelLike, RunnerLike, RunnerOfRunLike


class BaseLoop:
    """Hold one stage of a run.

    Args:
        runner: The run this loop belongs to; hooks are called through it.
        dataloader: A loader, or the dict to build one from.
    """

    #: Methods that Lightning's Trainer stands for; a subclass that overrides one cannot be honoured.
    replaced_by_trainer: ClassVar[tuple[str, ...]] = ("run", "run_epoch")

    #: MMEngine's methods of these names; a class whose method is another has one of its own.
    standard: ClassVar[dict[str, Any]] = {}

    def __init__(self, runner: RunnerLike, dataloader: DataLoader | dict) -> None:
        self._runner = runner
        if isinstance(dataloader, dict):
            dataloader = runner.build_dataloader(
                dataloader, seed=runner.seed, diff_rank_seed=runner.diff_rank_seed
            )
        self.dataloader: LoaderLike = dataloader

    @property
    def runner(self) -> RunnerLike:
        """The run this loop belongs to."""
        return self._runner

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        # Lightning's weight averaging copies the module, which knows its loops; the run behind them is no part of it.
        return self

    @property
    def overrides_run_iter(self) -> bool:
        """Whether a user's class replaces the single step."""
        return type(self).run_iter is not self.standard["run_iter"]

    # Any arguments: MMEngine's loop by iterations takes the batch alone, all others its number and the batch.
    def run_iter(self, *args: Any, **kwargs: Any) -> None:
        """Process one batch."""
        raise NotImplementedError

    def _share_metainfo(self, *holders: Any) -> None:
        """Give the data set's ``metainfo`` to the evaluator and the visualizer, as MMEngine does."""
        metainfo = getattr(getattr(self.dataloader, "dataset", None), "metainfo", None)
        for holder in holders:
            if holder is not None and metainfo is not None:
                holder.dataset_meta = metainfo


def refuse_own_run(loop: type[BaseLoop]) -> None:
    """Reject a loop class that replaces what Lightning's Trainer does.

    Raises:
        TypeError: If the class overrides ``run`` or ``run_epoch``.
    """
    for name in loop.replaced_by_trainer:
        if getattr(loop, name, None) is not loop.standard.get(name):
            raise TypeError(
                f"{loop.__name__} overrides {name}(), which Lightning's Trainer replaces. A custom loop can override "
                "run_iter(); move what happens around it into a hook (before_train_epoch, after_train_iter, …)."
            )


class TrainLoop(BaseLoop):
    """What both ways of counting share: the counters, the schedule of validations and the step."""

    by_epoch: ClassVar[bool]
    _runner: RunnerOfRunLike
    _max_epochs: int
    _max_iters: int
    epoch_length: int
    """Batches of one of Lightning's epochs: of an epoch, or by iterations of the whole run."""

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
    def length(self) -> int:
        """Epochs or iterations of the whole run, whichever this loop counts."""
        return self._max_epochs if self.by_epoch else self._max_iters

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

    def end_after(self, epochs: int) -> None:
        """Change the length of a run by epochs."""
        self._max_epochs, self._max_iters = epochs, epochs * self.epoch_length

    def count_iter(self) -> None:
        """Count one more iteration."""
        self._iter += 1

    def count_epoch(self) -> None:
        """Count one more epoch."""
        self._epoch += 1

    def go_to(self, epoch: int, iter: int) -> None:
        """Stand where a resumed run stood."""
        self._epoch, self._iter = epoch, iter

    def decide_val_interval(self) -> None:
        """Take up the interval of a dynamic schedule that holds from here on, for hooks that read ``val_interval``."""
        self._decide_current_val_interval()

    def _decide_current_val_interval(self) -> None:
        # MMEngine 0.10.7 calls it after each epoch or iteration, before the validation; projects' loops override it.
        times = self.times
        self.val_interval = val_interval_at(times, self._epoch if times.by_epoch else self._iter)

    def _train_one(self, idx: int, data_batch: object) -> None:
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
        # torch 2 types what a Module does not know as a tensor or a module, never as a method.
        model: ModelLike = runner.model  # type: ignore[assignment]
        outputs = model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
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
        length = length_of(self.dataloader)
        if length is None:
            raise TypeError(
                f"an epoch of {type(getattr(self.dataloader, 'dataset', self.dataloader)).__name__}, which has no "
                "length → schedules, checkpoints and the log must know where it ends → give the data set a __len__, "
                "or train by iterations: train_cfg=dict(by_epoch=False, max_iters=…)"
            )
        self.epoch_length = runner.limit_train_batches(length)
        self._max_iters = self._max_epochs * self.epoch_length

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Train on one batch; ``idx`` counts within the epoch."""
        self._train_one(idx, data_batch)

    standard: ClassVar[dict[str, Any]] = {"run_iter": run_iter}


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

    @property
    def epoch_length(self) -> int:  # type: ignore[override]
        """Batches of the one epoch that Lightning sees: those of the whole run."""
        return self._max_iters

    def run_iter(self, data_batch: Any) -> None:
        """Train on one batch."""
        self._train_one(self._iter, data_batch)

    standard: ClassVar[dict[str, Any]] = {"run_iter": run_iter}


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
        raise ValueError(f"train_cfg: {name}={value!r} → a whole number of at least 1 is needed")
    return int(value)
