"""Averaged run times of a function or a block."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ClassVar

import torch

from mm2pl.device import is_cuda_available, is_musa_available
from mm2pl.dist import is_main_process
from mm2pl.errors import ArgumentError
from mm2pl.logging import MMLogger, print_log


class TimeCounter:
    """Log the average run time; a decorator or, with ``tag``, a context manager.

    Counters of the same tag are one. Only rank 0 counts.

    Args:
        log_interval: Log every so many runs.
        warmup_interval: The run from which on time is counted, at least 1.
        with_sync: Wait for the device before reading the clock.
        tag: The name in the log; a decorator's default is the function's.
        logger: None: print.
    """

    instance_dict: ClassVar[dict[str | None, TimeCounter]] = {}

    log_interval: int
    warmup_interval: int
    with_sync: bool
    tag: str | None
    logger: MMLogger | str | None

    def __new__(
        cls,
        log_interval: int = 1,
        warmup_interval: int = 1,
        with_sync: bool = True,
        tag: str | None = None,
        logger: MMLogger | str | None = None,
    ) -> TimeCounter:
        """Return the counter of this tag."""
        if warmup_interval < 1:
            raise ArgumentError(f"warmup_interval must be at least 1, but got {warmup_interval}")
        if tag is not None and tag in cls.instance_dict:
            return cls.instance_dict[tag]
        counter = super().__new__(cls)
        counter.log_interval, counter.warmup_interval = log_interval, warmup_interval
        counter.with_sync, counter.tag, counter.logger = with_sync, tag, logger
        counter._count, counter._seconds, counter._start = 0, 0.0, 0.0
        # As in MMEngine 0.10.7, counters without a tag replace each other here. Nobody looks them up.
        cls.instance_dict[tag] = counter
        return counter

    _count: int
    _seconds: float
    _start: float

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Count the runs of ``fn``."""
        if not is_main_process():
            # MMEngine 0.10.7 returns None here: on other ranks the function would be gone.
            return fn
        self.tag = fn.__name__ if self.tag is None else self.tag

        @functools.wraps(fn)
        def counted(*args: Any, **kwargs: Any) -> Any:
            with self:
                return fn(*args, **kwargs)

        return counted

    def __enter__(self) -> None:
        if self.tag is None:
            raise ArgumentError(
                "In order to clearly distinguish printing information in different contexts, "
                "please specify the tag parameter"
            )
        self._count += 1
        self._start = self._now()

    def __exit__(self, *error: object) -> None:
        elapsed = self._now() - self._start
        # How long a block takes to fail says nothing about its usual time.
        if is_main_process() and error[0] is None:
            self.print_time(elapsed)

    def _now(self) -> float:
        if self.with_sync and is_cuda_available():
            torch.cuda.synchronize()
        elif self.with_sync and is_musa_available():
            torch.musa.synchronize()  # type: ignore[attr-defined]
        return time.perf_counter()

    def print_time(self, elapsed: float) -> None:
        """Add a run of ``elapsed`` seconds, and log the average if it is time to."""
        if self._count < self.warmup_interval:
            return
        self._seconds += elapsed
        if self._count % self.log_interval == 0:
            # The run with the number warmup_interval counts as well, hence the 1.
            average = 1000 * self._seconds / (self._count - self.warmup_interval + 1)
            print_log(
                f"[{self.tag}]-time per run averaged in the past {self._count} runs: "
                f"{average:.1f} ms",
                self.logger,
            )
