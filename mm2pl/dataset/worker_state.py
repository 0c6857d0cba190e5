"""The random states of worker processes, told to the main process with each batch.

What a transform draws in a worker depends on all that the worker has drawn before. So a run that is
to go on in new processes as if it had never stopped needs the workers' states too, as of the batches
taken so far: they have loaded ahead.
"""

from __future__ import annotations

import random
from array import array
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import get_worker_info

from mm2pl.dataset.utils import MissingSampleError

State = tuple[bytes, Any, bytes, int, int, float, bytes]
"""Python's words and Gaussian, NumPy's words, position, Gaussian (is there one, which), torch's."""


class WorkerStates:
    """Remember, by worker, the random state after the last batch taken from it.

    ``lived_on`` says that the workers of the current pass have served another one before; ``loaded``,
    that they did so in a process that has ended; ``ahead`` are the indices of the batches that they load.
    """

    def __init__(self) -> None:
        self.states: dict[int, State] = {}
        self.lived_on = False
        self.loaded = False
        self.ahead: deque[Any] = deque()

    def new_pass(self, persistent: bool, alive: bool) -> None:
        """Begin a pass with the workers of the one before, or with new ones.

        Persistent workers may have been sent home, as hooks that switch the pipeline do.
        """
        self.lived_on = persistent and bool(self.states) and (alive or self.loaded)
        self.loaded = False
        if not self.lived_on:
            self.states.clear()

    def take(self, report: Report) -> None:
        """Remember what came with a batch.

        Raises:
            MissingSampleError: A sample is None, which the batch cannot be made with.
        """
        # Workers that live on may have been started for somebody else, who has the indices.
        indices = self.ahead.popleft() if self.ahead else None
        if error := report.get("error"):
            if indices is None:
                raise error
            raise MissingSampleError.at(indices[error.place], "of the data set")
        if "state" in report:
            self.states[report["worker"]] = report["state"]

    def state_dict(self) -> dict[str, Any]:
        """Return plain data and tensors, for a checkpoint."""
        states = {worker: [_as_tensor(part) for part in s] for worker, s in self.states.items()}
        return {"lived_on": self.lived_on, "states": states}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` returned."""
        self.lived_on = state_dict["lived_on"]
        packed = {w: tuple(map(_as_bytes, s)) for w, s in state_dict["states"].items()}
        self.states = packed
        self.loaded = True


class Report(dict):
    """A batch on its way from a worker; a dict, so that pinning its memory finds the tensors in it."""


class Reporting:
    """A collate function that also tells the random state, if it has changed."""

    def __init__(self, collate_fn: Callable) -> None:
        self.collate_fn = collate_fn
        self.last: State | None = None

    def __call__(self, samples: Any) -> Report:
        """Collate; no samples at all mean that another process has loaded this worker's batch."""
        # `_SkipOnce` puts such batches in front, so that batch n is the same worker's as before.
        if isinstance(samples, list) and not samples:
            return Report()
        info = get_worker_info()
        try:
            batch = self.collate_fn(samples)
        except MissingSampleError as error:
            # As data: torch would raise it with the worker's traceback for a text. And only the main process has the
            # indices.
            return Report(error=error)
        report = Report(batch=batch, worker=info.id if info else 0)
        state = _get_state()
        # A pipeline that draws nothing has nothing to tell: 10 kB a batch need not go through the pipe.
        if state != self.last:
            report["state"] = self.last = state
        return report


class Restoring:
    """A worker_init_fn that lets a worker go on where one before it was."""

    def __init__(self, init_fn: Callable | None, states: Mapping[int, State]) -> None:
        self.init_fn = init_fn
        self.states = dict(states)

    def __call__(self, worker_id: int) -> None:
        """Do what the loader's own function does, then restore."""
        if self.init_fn is not None:
            # First: it seeds, which would overwrite what is restored.
            self.init_fn(worker_id)
        if worker_id in self.states:
            _set_state(self.states[worker_id])


def _get_state() -> State:
    _, words, gauss = random.getstate()
    numpy_state: tuple = np.random.get_state()  # type: ignore[assignment]
    _, key, position, has_gauss, cached = numpy_state
    own = torch.get_rng_state().numpy().tobytes()
    # Bytes: a tuple of 625 Python ints takes five times as long to pickle, at each batch.
    return array("I", words).tobytes(), gauss, key.tobytes(), position, has_gauss, cached, own


def _set_state(state: State) -> None:
    words, gauss, key, position, has_gauss, cached, own = state
    # 3 is the format that `random.getstate` has written since Python 3.2.
    random.setstate((3, tuple(array("I", words)), gauss))
    keys = np.frombuffer(key, dtype=np.uint32)
    # The global stream is MT19937, unless somebody calls `np.random.set_bit_generator`.
    np.random.set_state(("MT19937", keys, position, has_gauss, cached))
    torch.set_rng_state(_as_tensor(own))


def _as_tensor(part: Any) -> Any:
    # A bytearray, because torch warns of a buffer that is not writable, such as bytes.
    return torch.frombuffer(bytearray(part), dtype=torch.uint8) if isinstance(part, bytes) else part


def _as_bytes(part: Any) -> Any:
    # A checkpoint may have been loaded with `map_location="cuda"`.
    return part.cpu().numpy().tobytes() if isinstance(part, torch.Tensor) else part
