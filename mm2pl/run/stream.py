"""The training data as Lightning sees them: an epoch, or an endless run of passes, that can start anywhere."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from mm2pl.checkpoint.random_state import rng_state, set_rng_state
from mm2pl.dataset import WorkerStates, never_ends, skip_batches
from mm2pl.dataset.utils import set_sampler_epoch
from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log

if TYPE_CHECKING:
    from mm2pl.run.protocols import LoaderLike


class TrainStream:
    """Feed a train loop's loader to the Trainer, with MMEngine's moments of drawing random numbers.

    Lightning asks for its iterator before the epoch begins (and before ``set_epoch``); MMEngine makes the loader's
    iterator after ``before_train_epoch``, or for iteration-based runs when the loop is built. So ``__iter__`` is lazy,
    and ``open`` makes the iterator at the right moment. ``workers`` holds the random states of the loader's workers as
    of the batches taken; to reopen with them, load them first.

    Args:
        loader: Any loader.
        length: Batches until Lightning's epoch ends: the loader's length, or ``max_iters`` of an iteration-based run.
        endless: Start another pass when the loader runs out.
        stop: Batches after which the Trainer ends the epoch, if it was told to limit them.
    """

    def __init__(
        self, loader: LoaderLike, length: int, endless: bool, stop: int | None = None
    ) -> None:
        self.loader = loader
        self.length = length
        self.stop = length if stop is None else stop
        self.endless = endless
        self.passes = 0
        self.consumed = 0
        self.before = 0  # batches of earlier epochs, if they are of the same pass
        self.goes_on = False
        self._ahead: list[Any] = []
        if not endless and never_ends(loader):
            self._go_on()
        self.workers = WorkerStates()
        # Lightning 2.6 sets an attribute `_iterator` of every loader to None when a fit ends: a second fit of a run by
        # iterations would begin its data again.
        self._batches: Iterator[Any] | None = None
        self._rng_at_open: dict[str, Any] | None = None

    def __len__(self) -> int:
        return self.length

    @property
    def dataset(self) -> Any:
        """The loader's data set."""
        return self.loader.dataset

    @property
    def batch_size(self) -> int | None:
        """The loader's batch size, if it has one."""
        return getattr(self.loader, "batch_size", None)

    def open(self, skip: int = 0) -> None:
        """Make the loader's iterator now, ``skip`` batches into the pass, without loading the skipped ones."""
        self._rng_at_open = rng_state()
        self.consumed = skip
        self._batches = skip_batches(self.loader, skip, self.workers)

    def __iter__(self) -> Iterator[Any]:
        if self._between_epochs:
            if self.goes_on:
                self.before += self.consumed
                self.consumed = 0
            else:
                self._batches = None
        while True:
            if self._batches is None:
                self._open_epoch()
            iterator = self._batches
            assert iterator is not None
            ahead, self._ahead = self._ahead, []
            for batch in chain(ahead, iterator):
                self.consumed += 1
                yield batch
                if self._batches is not iterator:
                    break  # `take_over`, or who else takes batches of this stream, has gone on
            else:
                self._batches = None
                if not self.endless:
                    return
                self._begin_pass()

    def _begin_pass(self) -> None:
        if not self.consumed:  # MMEngine's loop ends with a bare StopIteration here
            raise ArgumentError(
                "a pass over the training data has no batch → the run would wait for one for ever → give the data "
                "set or the sampler something to return, or leave out drop_last"
            )
        self.passes += 1
        _begin_next_pass(self.loader, self.passes)

    def take_over(self, other: TrainStream) -> None:
        """Go on with another stream's loader, where that stands."""
        # An endless one is as long as the run, which stays so.
        end = {"length": self.length, "stop": self.stop} if self.endless else {}
        vars(self).update({**vars(other), **end})

    def replace(self, loader: LoaderLike) -> None:
        """Take the next epoch, which has not begun, from another loader."""
        self.loader, self._batches, self._ahead = loader, None, []
        if self.goes_on:
            self.before = self.consumed = 0

    def finish(self) -> None:
        """Let the loader's iterator end, as MMEngine's loop does: batch samplers tidy up after their last batch.

        Lightning stops asking at the last batch.
        """
        if self.goes_on or self._batches is None or not self._between_epochs:
            return
        if self.consumed >= self.length and (ahead := list(islice(self._batches, 1))):
            self._ahead = ahead
            self._go_on()

    def _go_on(self) -> None:
        """Take the next epoch from the same pass, because the sampler never ends one, and say so.

        MMEngine 0.10.7 would never end the first epoch. Beginning the pass again would give each epoch the same order.
        """
        self.goes_on = True
        print_log(
            f"train_cfg counts epochs, but the {self._sampler_name()} of train_dataloader never ends → an epoch is "
            f"{self.stop} batches, and the next one goes on where it stops; MMEngine would never end the first → "
            "by_epoch=False with max_iters, or type='DefaultSampler'",
            logger="current",
            level=logging.WARNING,
        )

    def _sampler_name(self) -> str:
        return type(getattr(self.loader, "sampler", None)).__name__

    def _open_epoch(self, consumed: int = 0) -> None:
        self.open(self.before + consumed)
        self.consumed = consumed

    @property
    def _between_epochs(self) -> bool:
        return self._ends_at(self.consumed)

    def _ends_at(self, consumed: int) -> bool:
        # Lightning stops asking at the last batch, so the loader's iterator never ends by itself.
        return not self.endless and consumed >= self.stop

    def begin_epoch_again(self) -> None:
        """Leave the epoch that an exception has cut short: the next one takes its data from the beginning."""
        if self.endless or self._between_epochs:
            return
        if self.goes_on:
            self.before += self.consumed
        else:
            self._batches = None
        self.consumed = 0

    def leave_epoch(self) -> None:
        """Let the loader's iterator go, and its worker processes with it; where the stream stands is still known.

        One that the garbage collector finds in a cycle waits 5 s for each worker (torch 2.13). A stream that goes on in
        the same pass keeps it.
        """
        if not (self.endless or self.goes_on):
            self._batches = None

    def state_dict(self, untrained: bool = False) -> dict[str, Any]:
        """Say where the stream stands: pass, batches taken of it, and the random state it was opened with.

        Args:
            untrained: Whether the last batch has been taken, but nothing was learned from it: it is to come again.
        """
        consumed = self.consumed - untrained
        between = self._ends_at(consumed)
        return {
            "passes": self.passes,
            "consumed": 0 if between else consumed,
            "before": self.before + (consumed if between and self.goes_on else 0),
            "rng_at_open": None if between else self._rng_at_open,
            "rng_of_pass": self._rng_at_open if self.goes_on else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Reopen at a saved place, with the shuffle and the worker seeds of the run that saved it.

        The random state is left as the iterator's creation leaves it; the caller restores that of the moment of saving.
        """
        self.passes = state["passes"]
        self.before = state.get("before", 0)
        # Lightning's learning rate finder trains on this very stream, and then goes back.
        self.consumed, self._batches = state["consumed"], None
        if self.endless and self.passes:
            set_sampler_epoch(self.loader, self.passes)
        # A pass that goes on is opened here also between two epochs: later it would draw a seed for its workers.
        rng = state["rng_at_open"] or (state["rng_of_pass"] if self.before else None)
        if rng is not None:
            set_rng_state(rng)
            self._open_epoch(state["consumed"])

    def skip_to(self, batches: int) -> None:
        """Stand ``batches`` after the beginning of the run, as MMEngine does when it resumes, without loading them.

        Passes end where the loader's iterator ends, as in MMEngine, which takes that many batches and drops them.
        """
        now = rng_state()
        if self._rng_at_open is not None:
            # MMEngine makes one iterator, with the loop, and moves on in it. A second one would draw a number more.
            set_rng_state(self._rng_at_open)
        else:
            self._rng_at_open = now
        self.consumed = batches
        first = self._batches
        self._batches = skip_batches(self.loader, batches, self.workers, self._skip_pass)
        if first is not None:
            set_rng_state(now)

    def _skip_pass(self, length: int) -> None:
        self.consumed -= length
        self.passes += 1
        set_sampler_epoch(self.loader, self.passes)


def _begin_next_pass(dataloader: LoaderLike, epoch: int) -> None:
    """Tell a finite loader's sampler that pass ``epoch`` begins, and the user that the data were used up."""
    print_log(
        "Reach the end of the dataloader, it will be restarted and continue to iterate. "
        "`InfiniteSampler` avoids the pause.",
        logger="current",
    )
    set_sampler_epoch(dataloader, epoch)


class EvalStream:
    """Feed a validation, test or predict loader to the Trainer as it is.

    Lightning inspects, warns about and (for ``predict``) rebuilds DataLoaders; the config has said what it wants.
    """

    def __init__(self, loader: LoaderLike) -> None:
        self.loader = loader
        self.taken = 0

    def __len__(self) -> int:
        return len(self.loader)

    def _open(self) -> Iterator[Any]:
        self.taken = 0
        return iter(self.loader)

    def __iter__(self) -> Iterator[Any]:
        # Lazy: Lightning also asks for an iterator only to see that there is one, and each draws a random number.
        iterator = self._open()
        try:
            last = len(self.loader)
        except TypeError:  # an iterable data set
            last = None
        for batch in iterator:
            self.taken += 1
            if self.taken == last:
                # Batch samplers tidy up after their last batch; Lightning stops asking at that one.
                next(iterator, None)
            yield batch

    @property
    def dataset(self) -> Any:
        """The loader's data set."""
        return self.loader.dataset

    @property
    def batch_size(self) -> int | None:
        """The loader's batch size, if it has one."""
        return getattr(self.loader, "batch_size", None)


class KeptPlace(EvalStream):
    """Feed a training loader to a Trainer that no run drives, and keep the place in its pass.

    ``state_dict`` and ``load_state_dict`` are Lightning's protocol of loaders that go on inside an epoch; with any
    other it begins the data again, and counts on. A pass is ``len(loader)`` batches. A loader that follows this
    protocol keeps its place itself.
    """

    def __init__(self, loader: LoaderLike) -> None:
        super().__init__(loader)
        self._skip = 0

    def _open(self) -> Iterator[Any]:
        self.taken, self._skip = self._skip, 0
        return skip_batches(self.loader, self.taken)

    def state_dict(self) -> dict[str, Any]:
        """Return how many batches of the pass are taken; none if it is over."""
        if hasattr(self.loader, "load_state_dict"):
            return self.loader.state_dict()  # type: ignore[attr-defined]
        try:
            return {"taken": self.taken % len(self.loader)}
        except TypeError:  # an iterable data set
            return {"taken": self.taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass, and only that one, begin behind these batches, without loading them."""
        if hasattr(self.loader, "load_state_dict"):
            self.loader.load_state_dict(state)
        else:
            self._skip = state["taken"]
