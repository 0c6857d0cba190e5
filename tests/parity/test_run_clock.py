"""The clock beside MMEngine's own loops: the same events in the same order, with the same interval to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from types import SimpleNamespace
from typing import Any

import pytest

from mm2pl.run.clock import Event, Position, Timetable, after_batch, ending, val_interval_at

pytestmark = pytest.mark.parity
loops = pytest.importorskip("mmengine.runner.loops")

#: Where a hook may ask for the end of the run.
STOPS = ("before_train", "before_train_epoch", "after_train_iter", "after_train_epoch", "val")
DYNAMIC = (None, [(3, 2)], [(1, 2)], [(2, 3), (4, 1)], [(4, 1), (2, 3)])


class Journal:
    """Write down what happens, and ask for the end at the ``at``-th time that ``where`` comes by."""

    def __init__(self, where: str | None, at: int) -> None:
        self.where, self.at = where, at
        self.lines: list[tuple[Any, ...]] = []

    def note(self, loop: Any, what: str) -> None:
        self.lines.append((what, loop._epoch, loop._iter, loop.val_interval))
        self.at -= what == self.where
        if what == self.where and self.at == 0:
            loop.stop_training = True


class Batches:
    """A loader of so many batches; endless if ``None``."""

    dataset = SimpleNamespace(metainfo={})

    def __init__(self, length: int | None) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length or 0

    def __iter__(self) -> Iterator[int]:
        return iter(int, 1) if self.length is None else iter(range(self.length))


def theirs(
    by_epoch: bool, end: int, length: int, options: dict, validates: bool, start: int, book: Journal
) -> None:
    """Run MMEngine's loop under a Runner that does nothing but write down."""
    runner: Any = SimpleNamespace(
        visualizer=SimpleNamespace(),
        model=SimpleNamespace(train=lambda: None, train_step=lambda *args, **kwargs: None),
        optim_wrapper=None,
        val_loop=SimpleNamespace(run=lambda: book.note(loop, "val")) if validates else None,
        call_hook=lambda name, **kwargs: name != "before_train_iter" and book.note(loop, name),
    )
    if by_epoch:
        loop = loops.EpochBasedTrainLoop(runner, Batches(length), end, **options)
        loop._epoch, loop._iter = start, start * length
    else:
        loop = loops.IterBasedTrainLoop(runner, Batches(None), end, **options)
        loop._iter = start
    loop.run()


def ours(times: Timetable, options: dict, start: int, book: Journal) -> None:
    """Obey the clock as a caller has to: one list of events per batch, and another look after a validation."""
    iterations = start * times.epoch_length if times.by_epoch else start
    loop: Any = SimpleNamespace(
        _epoch=start if times.by_epoch else 0,
        _iter=iterations,
        val_interval=options["val_interval"],
        stop_training=False,
    )
    batch = 0 if times.by_epoch else start
    stopped = False

    def happen(events: tuple[Event, ...]) -> None:
        nonlocal batch, stopped
        for event in events:
            if event is Event.CLOSE_EPOCH:
                book.note(loop, "after_train_epoch")
                loop._epoch += times.by_epoch
                batch = 0
                if times.by_epoch:
                    loop.val_interval = val_interval_at(times, loop._epoch)
            elif event is Event.VALIDATE:
                book.note(loop, "val")
            else:
                stopped = True

    def look() -> None:
        happen(ending(times, Position(loop._epoch, loop._iter, batch), loop.stop_training))

    book.note(loop, "before_train")
    if not times.by_epoch:
        book.note(loop, "before_train_epoch")
    look()
    while not stopped:
        if times.by_epoch and batch == 0:
            book.note(loop, "before_train_epoch")
        book.note(loop, "after_train_iter")
        loop._iter += 1
        batch += 1
        if not times.by_epoch:
            loop.val_interval = val_interval_at(times, loop._iter)
        here = Position(loop._epoch, loop._iter, batch)
        events = after_batch(times, here, loop.stop_training)
        happen(events)
        if events and not stopped:
            look()
    book.note(loop, "after_train")


def cases(by_epoch: bool) -> Iterator[tuple[Any, ...]]:
    lengths = (1, 2, 3) if by_epoch else (0,)
    ends = (1, 2, 4) if by_epoch else (1, 3, 6)
    stops = [(None, 0), *((where, at) for where in STOPS for at in (1, 2, 3))]
    grid = product(ends, lengths, (1, 3, 9), (1, 2, 3), DYNAMIC, (True, False), (0, 2))
    for index, (end, length, begin, interval, dynamic, validates, start) in enumerate(grid):
        # Every plan with no request to stop and with four of the fifteen requests, each in turn.
        for where, at in (stops[0], *(stops[1 + (4 * index + k) % 15] for k in range(4))):
            yield end, length, begin, interval, dynamic, validates, start, where, at


@pytest.mark.parametrize("by_epoch", [True, False], ids=["epochs", "iterations"])
def test_what_follows_each_batch(by_epoch: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "print_log", lambda *args, **kwargs: None)
    calc: Callable[..., Any] = loops.calc_dynamic_intervals
    seen = 0
    for end, length, begin, interval, dynamic, validates, start, where, at in cases(by_epoch):
        options = {"val_begin": begin, "val_interval": interval, "dynamic_intervals": dynamic}
        milestones, intervals = calc(interval, dynamic)
        times = Timetable(
            by_epoch=by_epoch,
            end=end,
            epoch_length=length,
            val_begin=begin,
            milestones=tuple(milestones),
            intervals=tuple(intervals),
            validates=validates,
        )
        expected, got = Journal(where, at), Journal(where, at)
        theirs(by_epoch, end, length, options, validates, start, expected)
        ours(times, options, start, got)
        assert got.lines == expected.lines, (times, start, where, at)
        seen += 1
    assert seen > 2500
