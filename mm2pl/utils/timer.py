"""Measuring time."""

from __future__ import annotations

from time import time
from types import TracebackType


class TimerError(Exception):
    """Report with ``message`` that a timer was asked which does not run."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class Timer:
    """Measure seconds since the start and since the last check.

    As a context manager it prints the time at the end, with ``print_tmpl`` (default ``'{:.3f}'``).

    Args:
        start: Start now; otherwise :meth:`start` does.
        print_tmpl: A format of one number of seconds; default: ``'{:.3f}'``.

    Example:
        >>> timer = Timer()
        >>> timer.since_start() >= 0 and timer.since_last_check() >= 0
        True
    """

    def __init__(self, start: bool = True, print_tmpl: str | None = None) -> None:
        self._is_running = False
        self.print_tmpl = print_tmpl or "{:.3f}"
        if start:
            self.start()

    @property
    def is_running(self) -> bool:
        """Return whether the timer was started."""
        return self._is_running

    def __enter__(self) -> Timer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        print(self.print_tmpl.format(self.since_last_check()))
        self._is_running = False

    def start(self) -> None:
        """Start, if it does not run; the last check is now."""
        now = time()
        # As in MMEngine 0.10.7, a second start does not begin anew: since_start() goes on.
        if not self._is_running:
            self._t_start = now
            self._is_running = True
        self._t_last = now

    def since_start(self) -> float:
        """Return the seconds since the start; also a check."""
        self._check()
        return self._t_last - self._t_start

    def since_last_check(self) -> float:
        """Return the seconds since the last check, or the start."""
        return self._check()

    def _check(self) -> float:
        if not self._is_running:
            raise TimerError("timer is not running")
        before, self._t_last = self._t_last, time()
        return self._t_last - before


_TIMERS: dict[str, Timer] = {}


def check_time(timer_id: str) -> float:
    """Return the seconds since the last call with the name ``timer_id``; 0 the first time."""
    if timer_id not in _TIMERS:
        _TIMERS[timer_id] = Timer()
        return 0
    return _TIMERS[timer_id].since_last_check()
