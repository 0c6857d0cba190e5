"""A loop with a progress bar by `rich`, or a plain one where that is not installed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from functools import partial
from importlib.util import find_spec
from typing import Any

from mm2pl.utils.progressbar import ProgressBar


def _call(func: Callable[..., Any], inputs: Any) -> Any:
    return func(*inputs) if isinstance(inputs, (tuple, list)) else func(inputs)


def track_progress_rich(
    func: Callable[..., Any],
    tasks: Iterable[Any] = (),
    task_num: int | None = None,
    nproc: int = 1,
    chunksize: int = 1,
    description: str = "Processing",
    color: str = "blue",
) -> list[Any]:
    """Return ``func(*task)`` for every task, showing progress.

    Args:
        func: What to do; must be picklable if ``nproc > 1``.
        tasks: A task that is a list or tuple is unpacked.
        task_num: How many there are, if ``tasks`` does not say; with no tasks at all: how often
            ``func()`` is called.
        nproc: How many processes; 1: this one.
        chunksize: How many tasks a process takes at a time.
        description: Before the bar.
        color: The bar's colour.

    Raises:
        TypeError: ``func`` cannot be called, or ``tasks`` not iterated.
        ValueError: The number of tasks is not known or contradicted, or ``nproc`` is not positive.
        concurrent.futures.process.BrokenProcessPool: One of the processes died.
    """
    if not callable(func):
        raise TypeError(f"func must be a callable object, but got {func!r}")
    if not isinstance(tasks, Iterable):
        raise TypeError(f"tasks must be an iterable object, but got {type(tasks)}")
    if isinstance(tasks, Sized) and len(tasks) == 0:
        if task_num is None:
            raise ValueError("If tasks is an empty iterable, task_num must be set")
        # Each is unpacked into no argument at all.
        tasks = [()] * task_num
    elif isinstance(tasks, Sized) and task_num not in (None, len(tasks)):
        raise ValueError(f"task_num {task_num} does not match the length of tasks {len(tasks)}")
    total = len(tasks) if isinstance(tasks, Sized) else task_num
    if nproc <= 0:
        raise ValueError(f"nproc must be a positive number, but got {nproc}")
    call = partial(_call, func)
    results = []
    # Not multiprocessing.Pool, which waits for ever for the result of a process that has died.
    with nullcontext() if nproc == 1 else ProcessPoolExecutor(nproc) as pool:
        # Before the bar: the processes are forked here, and rich draws in a thread.
        done = map(call, tasks) if pool is None else pool.map(call, tasks, chunksize=chunksize)
        with _advancing(total, description, color) as advance:
            for result in done:
                results.append(result)
                advance()
    return results


@contextmanager
def _advancing(total: int | None, description: str, color: str) -> Iterator[Callable[[], None]]:
    """Show a bar, and yield the function that moves it on by one."""
    if find_spec("rich") is None:
        bar = ProgressBar(total or 0)
        yield bar.update
        bar.file.write("\n")
        return
    # Optional, see above.
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        # MMEngine 0.10.7 gives the colour to the task, where no column reads it.
        BarColumn(complete_style=color),
        TimeRemainingColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
    )
    with Progress(*columns) as progress:
        task = progress.add_task(description, total=total)
        # Otherwise rich draws ten times a second, behind tasks that are shorter.
        yield lambda: progress.update(task, advance=1, refresh=True)
