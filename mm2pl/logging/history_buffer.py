"""The history of one logged number, and statistics over its last values."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.errors import ArgumentError, ReadableKeyError

if TYPE_CHECKING:
    import numpy as np

_MAX_PENDING = 2**16
"""Tensors on a device that may wait to be fetched; on CUDA one takes 512 bytes."""


class Pending:
    """Buffers that hold tensors of a device, fetched together in one transfer per dtype."""

    def __init__(self) -> None:
        self.buffers: list[HistoryBuffer] = []
        self.size = 0

    def add(self, buffer: HistoryBuffer, value: Any, count: float) -> None:
        """Let ``value`` of ``buffer`` wait."""
        if not buffer._waiting:
            self.buffers.append(buffer)
        buffer._waiting.append((value, count))
        buffer._room = 0  # what comes now waits behind it
        self.size += 1
        if self.size >= _MAX_PENDING:
            self.fetch()

    def fetch(self) -> None:
        """Append everything that waits to its buffer. Waits for the device."""
        buffers, self.buffers, self.size = self.buffers, [], 0
        groups: dict[Any, list[Any]] = {}
        for buffer in buffers:
            for value, _ in buffer._waiting:
                if not isinstance(value, (int, float)):
                    groups.setdefault((value.device, value.dtype), []).append(value)
        fetched = {key: iter(_to_list(tensors)) for key, tensors in groups.items()}
        for buffer in buffers:
            waiting, buffer._waiting = buffer._waiting, []
            for value, count in waiting:
                if not isinstance(value, (int, float)):
                    value = next(fetched[value.device, value.dtype])
                buffer._append(value, count)


def _to_list(tensors: list[Any]) -> list[Any]:
    import torch

    # One stack is one transfer, where tolist() of each tensor would wait for the device each time.
    return torch.stack(tensors).tolist()


class HistoryBuffer:
    """Keep the last ``max_length`` values with their counts; `mmengine.logging.HistoryBuffer`.

    Appending takes constant time. A one-element tensor is accepted: on the CPU it is read at once,
    on a device a copy of it stays there until a statistic or :attr:`data` is asked for, so
    updating never waits for the device.

    Args:
        log_history: First values.
        count_history: For each of them, over how many samples it was summed; 1 for plain values.
        max_length: How many values are kept.

    Raises:
        ArgumentError: The two histories have different lengths.

    Example:
        >>> buffer = HistoryBuffer()
        >>> for value in (1, 2, 6):
        ...     buffer.update(value)
        >>> float(buffer.mean()), float(buffer.mean(2)), float(buffer.statistics("max"))
        (3.0, 4.0, 6.0)
    """

    _statistics_methods: ClassVar[dict[str, Callable[..., Any]]] = {}

    def __init__(
        self,
        log_history: Sequence[float] = (),
        count_history: Sequence[float] = (),
        max_length: int = 1000000,
    ) -> None:
        if len(log_history) != len(count_history):
            raise ArgumentError(
                "The lengths of log_history and count_history should be equal, but got "
                f"{len(log_history)} and {len(count_history)}."
            )
        if len(log_history) > max_length:
            warnings.warn(
                f"The length of history buffer({len(log_history)}) exceeds the max_length"
                f"({max_length}), the first few elements will be ignored.",
                stacklevel=2,
            )
        self.max_length = max_length
        self._pending = Pending()
        self._waiting: list[tuple[Any, float]] = []
        self._fill(log_history[-max_length:], count_history[-max_length:])

    def _fill(self, values: Any, counts: Any) -> None:
        import numpy as np

        # What is kept is [start:stop] of arrays that double when they are full.
        self._values = np.asarray(values).flatten()
        self._counts = np.asarray(counts).flatten()
        self._start, self._stop = 0, len(self._values)
        self._room = 0

    def update(self, log_val: Any, count: float = 1) -> None:
        """Append ``log_val``, a number or one-element tensor, that stands for ``count`` values.

        Raises:
            TypeError: It is neither, or ``count`` is not a number.
        """
        fits = self._stop < self._room and self._stop - self._start < self.max_length
        if fits and type(log_val) is float and type(count) is int:
            # The usual case, several times per iteration: nothing else is to be done.
            self._values[self._stop], self._counts[self._stop] = log_val, count
            self._stop += 1
            return
        if not isinstance(count, (int, float)):
            raise TypeError(f"count must be int but got {type(count)}: {count!r}")
        if isinstance(log_val, (int, float)):
            if self._waiting:  # keep the order
                self._pending.add(self, log_val, count)
            else:
                self._append(log_val, count)
        # NumPy's numbers end here, as in MMEngine 0.10.7; only its float64 is a Python float.
        elif getattr(log_val, "is_cpu", None) is None or log_val.numel() != 1:
            raise TypeError(
                f"log_val must be int or float but got {type(log_val)}: "
                "give a number or a tensor with one element."
            )
        elif log_val.is_cpu:
            self.update(log_val.item(), count)
        else:
            # A copy, as the value may be changed in place before it is read.
            self._pending.add(self, log_val.detach().reshape(()).clone(), count)

    def _append(self, value: float, count: float) -> None:
        if self._stop == len(self._values):
            self._make_room()
        # float64 holds what np.append would make of any number. Other types may have to grow.
        if self._values.dtype.char != "d":
            self._values = _holding(self._values, value)
        # int64 is `l` on Linux and `q` on Windows.
        if self._counts.dtype.char not in "lq" or type(count) is not int:
            self._counts = _holding(self._counts, count)
        self._values[self._stop] = value
        self._counts[self._stop] = count
        self._stop += 1
        self._start = max(self._start, self._stop - self.max_length)
        plain = self._values.dtype.char == "d" and self._counts.dtype.char in "lqd"
        # Up to here a float and an int can be written as they are.
        self._room = len(self._values) if plain else 0

    def _make_room(self) -> None:
        import numpy as np

        kept = slice(self._start, self._stop)
        size = self._stop - self._start
        room = max(size, 16)
        self._values = np.append(self._values[kept], np.zeros(room, self._values.dtype))
        self._counts = np.append(self._counts[kept], np.zeros(room, self._counts.dtype))
        self._start, self._stop = 0, size

    @property
    def _log_history(self) -> np.ndarray:
        if self._waiting:
            self._pending.fetch()
        return self._values[self._start : self._stop]

    @property
    def _count_history(self) -> np.ndarray:
        if self._waiting:
            self._pending.fetch()
        return self._counts[self._start : self._stop]

    @property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """The values and their counts."""
        return self._log_history, self._count_history

    @classmethod
    def register_statistics(cls, method: Callable[..., Any]) -> Callable[..., Any]:
        """Make ``method(buffer, ...)`` a statistic, by its name; usable as a decorator.

        Raises:
            ArgumentError: There is one of that name.
        """
        if method.__name__ in cls._statistics_methods:
            raise ArgumentError(
                f"method_name cannot be registered twice! There is a statistic {method.__name__!r}."
            )
        cls._statistics_methods[method.__name__] = method
        return method

    def statistics(self, method_name: str, *arg: Any, **kwargs: Any) -> Any:
        """Return the statistic ``method_name``: mean, max, min, current or a registered one.

        Further arguments are the statistic's; the first is the window, in values from the newest backwards.

        Raises:
            ReadableKeyError: There is none of that name.
        """
        if method_name not in self._statistics_methods:
            raise ReadableKeyError(
                f"{method_name} has not been registered in HistoryBuffer._statistics_methods, "
                f"which has {', '.join(sorted(self._statistics_methods))}."
            )
        return self._statistics_methods[method_name](self, *arg, **kwargs)

    def mean(self, window_size: int | None = None) -> Any:
        """Return sum over summed counts, of the last ``window_size`` values (None: all)."""
        window = self._window(window_size)
        return self._log_history[window].sum() / self._count_history[window].sum()

    def max(self, window_size: int | None = None) -> Any:
        """Return the greatest of the last ``window_size`` values (None: all)."""
        return self._log_history[self._window(window_size)].max()

    def min(self, window_size: int | None = None) -> Any:
        """Return the least of the last ``window_size`` values (None: all)."""
        return self._log_history[self._window(window_size)].min()

    def current(self) -> Any:
        """Return the last value.

        Raises:
            ValueError: There is none yet.
        """
        if len(self._log_history) == 0:
            raise ValueError(
                "HistoryBuffer._log_history is an empty array! please call update first"
            )
        return self._log_history[-1]

    def _window(self, window_size: int | None) -> slice:
        if not (window_size is None or isinstance(window_size, int)):
            raise ArgumentError(
                f"The type of window size should be int, but got {type(window_size)}"
            )
        # As in MMEngine 0.10.7, a window of 0 takes everything, since -0 is 0.
        return slice(None if window_size is None else -window_size, None)

    def __getstate__(self) -> dict[str, Any]:
        # MMEngine's fields, so that its pickled buffers can become ours.
        values, counts = self.data
        return {
            "max_length": self.max_length,
            "_log_history": values.copy(),
            "_count_history": counts.copy(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.max_length = state["max_length"]
        self._pending, self._waiting = Pending(), []
        self._fill(state["_log_history"], state["_count_history"])


def _holding(array: np.ndarray, value: float) -> np.ndarray:
    """Return ``array`` in the type that NumPy promotes it to when ``value`` is appended."""
    import numpy as np

    return array.astype(np.result_type(array.dtype, np.asarray(value).dtype), copy=False)


HistoryBuffer._statistics_methods.update(
    mean=HistoryBuffer.mean,
    max=HistoryBuffer.max,
    min=HistoryBuffer.min,
    current=HistoryBuffer.current,
)
