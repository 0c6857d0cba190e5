"""Training loaders as a Trainer sees them that no run drives: as they are, with the samplers that they have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from mm2pl.dataset import skip_batches
from mm2pl.run.stream import KeptPlace


class TrainView(KeptPlace):
    """Feed a training loader to the Trainer as it is.

    Lightning puts a sampler of its own into a DataLoader where there are several processes. This is not one, but shows
    what Lightning uses of one: the samplers, to call ``set_epoch``, and ``worker_init_fn``, to seed the workers.
    """

    @property
    def sampler(self) -> Any:
        """The loader's sampler."""
        return getattr(self.loader, "sampler", None)

    @property
    def batch_sampler(self) -> Any:
        """The loader's batch sampler."""
        return getattr(self.loader, "batch_sampler", None)

    @property
    def worker_init_fn(self) -> Any:
        """The loader's function that is called in each new worker."""
        return getattr(self.loader, "worker_init_fn", None)

    @worker_init_fn.setter
    def worker_init_fn(self, function: Any) -> None:
        self.loader.worker_init_fn = function  # type: ignore[attr-defined]


class EndlessView(TrainView):
    """Cut the stream of a sampler that never ends into epochs: as many batches as ``len`` says.

    Each epoch goes on where the last one stopped. A stream that began again would give every epoch the same order.

    Args:
        loader: The loader.
        trained: Return how many batches were trained with, which a resumed or a reloaded stream leaves out.
    """

    def __init__(self, loader: Any, trained: Callable[[], int]) -> None:
        super().__init__(loader)
        self._trained = trained
        self._batches: Iterator[Any] | None = None

    def __iter__(self) -> Iterator[Any]:
        # Asked for now: Lightning makes a view before it knows where a checkpoint goes on.
        if self._batches is None:
            self._batches = skip_batches(self.loader, self._trained())
        yield from islice(self._batches, len(self.loader))

    # Its place follows from what the Trainer has counted; a loader that keeps one itself would be skipped twice.

    def state_dict(self) -> dict[str, Any]:
        """Return nothing: the Trainer knows the place."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Do nothing; see :meth:`state_dict`."""


def share_of(loader: Any) -> tuple[int, int] | None:
    """Return for which share of the data a loader's sampler deals, and of how many; ``None`` if it knows of no others.

    >>> from torch.utils.data import DataLoader, DistributedSampler
    >>> share_of(DataLoader("abcd", sampler=DistributedSampler("abcd", num_replicas=2, rank=1)))
    (1, 2)
    >>> share_of(DataLoader("abcd", shuffle=True))
    """
    batches = getattr(loader, "batch_sampler", None)
    samplers: tuple[Any, ...] = (getattr(loader, "sampler", None), batches)
    for sampler in (*samplers, getattr(batches, "sampler", None)):
        # torch's own samplers have the one name, MMEngine's the other.
        for size in ("num_replicas", "world_size"):
            if hasattr(sampler, size) and hasattr(sampler, "rank"):
                return sampler.rank, getattr(sampler, size)
    return None
