"""A progress bar on plain text, and loops that show one; `mmengine.utils.progressbar`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from multiprocessing import Pool
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, TextIO

from mm2pl.errors import ArgumentError
from mm2pl.utils.timer import Timer

if TYPE_CHECKING:
    import multiprocessing.pool

Tasks = Sequence[Any] | tuple[Iterable[Any], int]


class ProgressBar:
    """Show how many tasks are done.

    Args:
        task_num: How many there are; 0: unknown.
        bar_width: The bar's width in characters.
        start: Start now.
        file: Where to; None: what is `sys.stdout` now.
    """

    def __init__(
        self,
        task_num: int = 0,
        bar_width: int = 50,
        start: bool = True,
        file: TextIO | None = None,
    ) -> None:
        self.task_num = task_num
        self.bar_width = bar_width
        self.completed = 0
        # MMEngine 0.10.7 binds sys.stdout at import. Tests and notebooks replace it afterwards.
        self.file = sys.stdout if file is None else file
        if start:
            self.start()

    @property
    def terminal_width(self) -> int:
        """The terminal's width in characters."""
        return get_terminal_size()[0]

    def start(self) -> None:
        """Show the empty bar and start the clock."""
        if self.task_num > 0:
            self._write(f"[{' ' * self.bar_width}] 0/{self.task_num}, elapsed: 0s, ETA:")
        else:
            self._write("completed: 0, elapsed: 0s")
        self.timer = Timer()

    def update(self, num_tasks: int = 1) -> None:
        """Show that ``num_tasks`` more are done.

        Raises:
            ArgumentError: ``num_tasks`` is not positive.
        """
        if num_tasks <= 0:
            raise ArgumentError(f"num_tasks must be positive, but got {num_tasks}")
        self.completed += num_tasks
        elapsed = self.timer.since_start()
        # Two readings of a coarse clock may be equal.
        speed = self.completed / elapsed if elapsed > 0 else float("inf")
        seconds = int(elapsed + 0.5)
        if self.task_num == 0:
            self._write(f"completed: {self.completed}, elapsed: {seconds}s, {speed:.1f} tasks/s")
            return
        done = self.completed / self.task_num
        eta = int(elapsed * (1 - done) / done + 0.5)
        tail = (
            f"{self.completed}/{self.task_num}, {speed:.1f} task/s, "
            f"elapsed: {seconds}s, ETA: {eta:5}s"
        )
        # Two brackets and a space, and the carriage return, which MMEngine 0.10.7 counts too.
        space = min(self.terminal_width - len(tail) - 4, int(self.terminal_width * 0.6))
        width = max(2, min(self.bar_width, space))
        self._write(f"\r[{'>' * int(width * done):<{width}}] {tail}")

    def _write(self, text: str) -> None:
        self.file.write(text)
        self.file.flush()


def _count(tasks: Tasks) -> tuple[Iterable[Any], int]:
    # As in MMEngine 0.10.7, a tuple never holds the tasks themselves.
    if isinstance(tasks, tuple):
        if not (len(tasks) == 2 and isinstance(tasks[0], Iterable) and isinstance(tasks[1], int)):
            raise ArgumentError(f"A tuple of tasks must be (iterable, length), but got {tasks!r}")
        return tasks[0], tasks[1]
    if isinstance(tasks, Sequence):
        return tasks, len(tasks)
    raise TypeError(
        f'"tasks" must be a tuple object or a sequence object, but got {type(tasks)}: '
        "give (iterable, length) for an iterable without one."
    )


def track_iter_progress(
    tasks: Tasks, bar_width: int = 50, file: TextIO | None = None
) -> Iterator[Any]:
    """Yield the tasks, showing progress; ``tasks`` is a sequence or (iterable, length).

    Args:
        tasks: A sequence, or a tuple ``(iterable, length)``.
        bar_width: Of the bar, in characters.
        file: Where to; None: what is `sys.stdout` now.

    Raises:
        ArgumentError: ``tasks`` is another tuple.
        TypeError: ``tasks`` has no length.
    """
    items, task_num = _count(tasks)
    bar = ProgressBar(task_num, bar_width, file=file)
    for item in items:
        yield item
        bar.update()
    bar.file.write("\n")


def track_progress(
    func: Callable[..., Any],
    tasks: Tasks,
    bar_width: int = 50,
    file: TextIO | None = None,
    **kwargs: Any,
) -> list[Any]:
    """Return ``func(task, **kwargs)`` for every task, showing progress.

    ``func`` runs in this process. Further arguments are those of :func:`track_iter_progress`.
    """
    return [func(task, **kwargs) for task in track_iter_progress(tasks, bar_width, file)]


def init_pool(
    process_num: int,
    initializer: Callable[..., Any] | None = None,
    initargs: tuple[Any, ...] | None = None,
) -> multiprocessing.pool.Pool:
    """Return ``process_num`` processes; each calls ``initializer(*initargs)`` first.

    Raises:
        TypeError: ``initargs`` is not a tuple.
    """
    if not (initargs is None or isinstance(initargs, tuple)):
        raise TypeError(f'"initargs" must be a tuple, but got {initargs!r}')
    return Pool(process_num, initializer, initargs or ())


def track_parallel_progress(
    func: Callable[[Any], Any],
    tasks: Tasks,
    nproc: int,
    initializer: Callable[..., Any] | None = None,
    initargs: tuple[Any, ...] | None = None,
    bar_width: int = 50,
    chunksize: int = 1,
    skip_first: bool = False,
    keep_order: bool = True,
    file: TextIO | None = None,
) -> list[Any]:
    """Return ``func(task)`` for every task, computed by ``nproc`` processes, showing progress.

    Args:
        func: What to do; must be picklable.
        tasks: A sequence, or (iterable, length).
        nproc: How many processes.
        initializer: Called in each process, with ``initargs``.
        initargs: See ``initializer``.
        bar_width: The bar's width in characters.
        chunksize: How many tasks a process takes at a time.
        skip_first: Start the clock only after every process has done its first chunk.
        keep_order: Return the results in the tasks' order.
        file: Where the bar is shown.
    """
    items, task_num = _count(tasks)
    # Starting the processes takes long, and would spoil the estimate.
    warm_up = nproc * chunksize if skip_first else 0
    bar = ProgressBar(task_num - warm_up, bar_width, start=not skip_first, file=file)
    results = []
    with init_pool(nproc, initializer, initargs) as pool:
        run = pool.imap if keep_order else pool.imap_unordered
        for result in run(func, items, chunksize):
            results.append(result)
            # Never true without skip_first: then warm_up is 0, and one result is there already.
            if len(results) == warm_up:
                bar.start()
            elif len(results) > warm_up:
                bar.update()
        bar.file.write("\n")
        # The end of `with` terminates the processes. After close and join they end by themselves.
        pool.close()
        pool.join()
    return results
