"""How long the parts of an iteration take."""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any

from mm2pl.lightning.executor import replaced

OTHER = "other"
"""What belongs to no part."""


class Stopwatch:
    """Give each moment to the part that is going on; a part inside another one interrupts it.

    So the seconds of all parts add up to the time that has passed.

    Args:
        wait: Waits until the device has done what it was given. It is called where a part begins or ends, or else the
            time of a part would be in a later one.
        named: Returns a context for a part, such as torch's ``record_function``; the profiler's names are made with it.

    Example:
        >>> watch = Stopwatch()
        >>> watch.start()
        >>> with watch.part("forward"), watch.part("backward"):
        ...     pass
        >>> list(watch.stop())
        ['other', 'forward', 'backward']
    """

    def __init__(
        self,
        wait: Callable[[], None] = lambda: None,
        named: Callable[[str], AbstractContextManager[Any]] = lambda name: nullcontext(),
    ) -> None:
        self._wait, self._named = wait, named
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._parts = [OTHER]
        self._runs, self._since = False, 0.0

    def start(self) -> None:
        """Begin to measure."""
        self._wait()
        self._seconds.clear()
        self._runs, self._since = True, time.perf_counter()

    def stop(self) -> dict[str, float]:
        """Measure no more; return the seconds of each part."""
        self._settle()
        self._runs = False
        return dict(self._seconds)

    def _settle(self) -> None:
        if self._runs:
            self._wait()
            now = time.perf_counter()
            self._seconds[self._parts[-1]] += now - self._since
            self._since = now

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Give the time inside to a part."""
        self._settle()
        self._parts.append(name)
        try:
            with self._named(name):
                yield
        finally:
            self._settle()
            self._parts.pop()

    def timed(self, call: Callable[..., Any], name: str) -> Callable[..., Any]:
        """Return a function whose calls are a part."""

        # Lightning looks through `__wrapped__` to see whether a callback has a method of its own.
        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            # Such as a transfer, which goes down into a batch.
            if self._parts[-1] == name:
                return call(*args, **kwargs)
            with self.part(name):
                return call(*args, **kwargs)

        return timed

    @contextmanager
    def watching(self, *methods: tuple[Any, str, str]) -> Iterator[None]:
        """Time methods inside: of an object, by name, as a part. What an object lacks is left out."""
        with ExitStack() as stack:
            for owner, method, name in methods:
                call = getattr(owner, method, None)
                if call is not None:
                    stack.enter_context(replaced(owner, method, self.timed(call, name)))
            yield
