"""The training of a run as it goes on: its data, its open epoch and batch, and what follows each batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mm2pl.checkpoint.random_state import rng_state
from mm2pl.run.base_loop import drives
from mm2pl.run.clock import Event
from mm2pl.run.stream import TrainStream
from mm2pl.run.ticks import TickCount

if TYPE_CHECKING:
    from mm2pl.run.loops import TrainLoop
    from mm2pl.run.run import Run


_METHODS = {"run", "run_epoch", "run_iter"}


class Training:
    """Call the hooks around epochs and batches, count them, and ask the clock what comes next.

    Whoever loops over the batches (a callback of the Trainer) calls these methods and obeys what they return.

    Args:
        run: The run; its train loop counts.

    Attributes:
        stream: The training data; ``None`` before the first fit.
        epoch_open: Whether ``before_train_epoch`` has been called and ``after_train_epoch`` is to come.
        batch_open: Whether the hooks of a batch are being called; what follows it is decided after them.
        batch_counted: Whether the counter has moved on for that batch, as it does between its hooks and the epoch's.
        ahead: What was decided to follow the last batch, until it has happened.
        rng_of_validation: The random state in which the validation began that goes on; one that is resumed begins anew.
        has_trained: Whether the model has been trained on a batch.
        is_elsewhere: Whether that was done by forked processes.
        ticks: How often the schedules have ticked, and how often that ought to be.
        loop_steps: Whether a custom loop's ``run_iter`` makes the step, calls the hooks and counts.
        driven: Whether a custom loop goes through the data itself.
        stopped: Whether the Trainer has told such a loop to end.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self.stream: TrainStream | None = None
        self.epoch_open = self.batch_open = self.batch_counted = self.has_trained = False
        self.is_elsewhere = False
        self.ahead: tuple[Event, ...] = ()
        self.rng_of_validation: dict[str, Any] | None = None
        self.ticks = TickCount()
        self._back_from_validation = self.loop_steps = self.driven = self.stopped = False
        self._loop: TrainLoop
        self._own: dict[str, Any]
        self._opened: Any = None

    def note_elsewhere(self) -> None:
        """Take note that processes which were forked from this one have trained the model, and have ended."""
        self.has_trained = self.is_elsewhere = True

    def open_stream(self, loop: TrainLoop) -> TrainStream:
        """Return the data of the train loop as the Trainer is to see them; a second fit goes on in the first's."""
        self.driven = drives(loop)
        data: Any = getattr(loop, "dataloader", ())
        if self.stream is None or self._opened is not data:
            self._opened = data
            nothing: Any = ()  # for a loop that takes its batches itself
            if not loop.by_epoch and hasattr(loop, "stream"):
                # MMEngine makes its iterator with the loop; it draws the workers' base seed, so its moment counts.
                self.stream = loop.stream() or TrainStream(nothing, 0, endless=False)
            elif self.driven:
                self.stream = TrainStream(nothing, 0, endless=False)
            else:
                self.stream = TrainStream(data, len(data), endless=False, stop=loop.epoch_length)
        return self.stream

    def reload(self, loader: Any) -> None:
        """Take the next epochs from another loader; the stream that the Trainer has stays."""
        assert self.stream is not None
        self._opened = loader
        self.stream.replace(loader)

    @property
    def clocked(self) -> bool:
        """Return whether what follows a batch is known: not where a custom loop's own ``run`` decides it."""
        return not self.driven or getattr(self._run.train_loop, "follows_clock", False)

    @property
    def is_cut_short(self) -> bool:
        """Return whether the Trainer ends the training here, before the end that the loop or a hook has set."""
        loop = self._run.train_loop
        if self.driven:
            return self.stopped
        # Only a Trainer leaves a run by epochs in the middle of one.
        return self.epoch_open or not loop.is_over()

    @property
    def keeps_place(self) -> bool:
        """Return whether the stream knows which batches the run has had, and can go on behind them."""
        return not self.driven or (self.clocked and self.stream is not None and self.stream.endless)

    def forget_interruption(self) -> None:
        """Close what is open since an exception ended the last fit: MMEngine's loop begins that epoch again."""
        self.epoch_open = self.batch_open = False
        self.judge_validation()
        if self.stream is not None:
            self.stream.begin_epoch_again()

    def begin(self) -> None:
        """Make ready, and call ``before_train``."""
        self.prepare()
        self._run.runner.call_hook("before_train")

    def prepare(self) -> None:
        """Begin, or continue, counting accumulation windows; compile the step if asked to."""
        run, loop = self._run, self._run.train_loop
        self.stopped = False
        self._loop, self._own = loop, vars(loop)
        self.loop_steps = self.driven or loop.overrides_run_iter
        run.continuing.restore_optimizer()
        # A run by iterations ticks the schedules by epoch once, at its end.
        place = {"iter": loop.iter, "epoch": loop.epoch if loop.by_epoch else 0}
        self.ticks.begin(run.module.param_schedulers, place)
        run.optim_wrapper.initialize_count_status(run.model, loop.iter, loop.max_iters)
        run.runner._maybe_compile("train_step")

    def begin_epoch(self) -> bool:
        """Begin an epoch, of which a run by iterations has one.

        Returns:
            Whether its batches are other ones, or another number, than the Trainer knows of.
        """
        self.epoch_open = True
        self._run.runner.call_hook("before_train_epoch")
        if not self._own.keys().isdisjoint(_METHODS):
            self._choose_step()
        self._train_mode()
        return self._take_loader()

    def _choose_step(self) -> None:
        """See whether the loop's own ``run_iter`` makes the step, since a program has given the loop methods.

        Raises:
            ValueError: The loop has been given a method that goes through the data, or Lightning drives the optimizer.
        """
        self._run.require_known_way(self._loop, self.driven)
        self.loop_steps = self.driven or self._loop.overrides_run_iter

    def _take_loader(self) -> bool:
        """Take the loader that the loop has now, since hooks may have replaced or changed it; return whether they have.

        MMEngine's loop by epochs goes through its loader anew in each; that by iterations has made its iterator long
        ago.
        """
        loop, stream = self._run.train_loop, self.stream
        if stream is None or self.driven or not loop.by_epoch:
            return False
        loop.measure()
        loader: Any = loop.dataloader
        known = stream.loader, stream.length, stream.stop
        if known == (loader, len(loader), loop.epoch_length):
            return False
        other = TrainStream(loader, len(loader), endless=False, stop=loop.epoch_length)
        if stream.loader is loader:
            other.workers = stream.workers  # persistent ones live on
        stream.take_over(other)
        self._opened = loader
        return True

    def _train_mode(self) -> None:
        if not self._run.module.follows_lightning:
            self._run.model.train()

    def close_epoch(self) -> None:
        """End an epoch; the counter moves after its hooks, as in MMEngine's loop."""
        self._run.runner.call_hook("after_train_epoch")
        loop = self._run.train_loop
        if loop.by_epoch:
            loop.count_epoch()
        self.epoch_open = False

    def reopen_epoch(self, still_open: bool) -> None:
        """Stand where a checkpoint was written: in its epoch's last iteration, or between two epochs."""
        self.epoch_open = still_open

    def begin_batch(self, batch_idx: int, batch: object) -> None:
        """Call ``before_train_iter``, unless a custom loop's ``run_iter`` does."""
        self.batch_open, self.batch_counted = True, False
        run = self._run
        if "run_iter" in self._own and not self.loop_steps:
            self._choose_step()
        # MMEngine's loop by iterations calls it before every batch; it matters only after a validation, a hook's too.
        if not self._loop.by_epoch and (self._back_from_validation or not run.model.training):
            self._back_from_validation = False
            self._train_mode()
        if not self.loop_steps:
            run.runner.call_hook("before_train_iter", batch_idx=batch_idx, data_batch=batch)

    def end_batch(self, batch_idx: int, batch: object, outputs: object) -> tuple[Event, ...]:
        """Call ``after_train_iter``, count the batch, close the epoch if it is over, and return what follows."""
        loop = self._loop
        self.has_trained = True
        if not self.loop_steps:
            self._run.runner.call_hook(
                "after_train_iter", batch_idx=batch_idx, data_batch=batch, outputs=outputs
            )
            loop.count_iter()
        self.batch_counted = True
        if loop.by_epoch:
            # By epochs nothing follows a batch but the last.
            if batch_idx + 1 < loop.epoch_length:
                self.batch_open = False
                return ()
            assert self.stream is not None
            self.stream.finish()
            self.close_epoch()
        events = loop.decided()
        self.ahead, self.batch_open = events, False
        return events

    def begin_validation(self) -> None:
        """Note where a validation begins: a file that is written in it, as SIGTERM makes one, begins it anew."""
        self.ahead = (Event.VALIDATE,)
        self.rng_of_validation = rng_state()

    def judge_validation(self) -> None:
        """Note that all batches are through: a file that is written from now on does not repeat them."""
        self.ahead, self.rng_of_validation = (), None

    def end_validation(self) -> bool:
        """Go back to training; return whether the run ends here, for which the validation's hooks may have asked."""
        loop = self._run.train_loop
        self._back_from_validation = not loop.by_epoch
        return not loop.by_epoch and loop.is_over()

    def validation_follows(self, epoch_over: bool) -> bool:
        """Return whether the run validates before its next batch, asked at any moment of the training.

        Args:
            epoch_over: Whether the batch whose hooks are being called is the last of its epoch.
        """
        if not self.clocked:
            return False
        if not self.batch_open:
            return Event.VALIDATE in self.ahead
        loop = self._run.train_loop
        epoch_over = epoch_over and not self.driven
        # The batch is counted after its hooks. By epochs, only the last batch can be followed by a validation.
        return Event.VALIDATE in loop.follows(loop.epoch_length if epoch_over else 0, uncounted=1)
