"""From samples to batches, and what a worker process does first."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate as torch_default_collate

from mm2pl.errors import ArgumentError, StateError
from mm2pl.registry import FUNCTIONS
from mm2pl.structures import is_data_element

COLLATE_FUNCTIONS = FUNCTIONS
"""MMEngine's older name of `FUNCTIONS`."""


def worker_init_fn(
    worker_id: int,
    num_workers: int,
    rank: int,
    seed: int,
    disable_subprocess_warning: bool = False,
) -> None:
    """Seed Python, NumPy and torch in a worker with ``num_workers * rank + worker_id + seed``.

    Args:
        worker_id: Counts the workers of one process from 0.
        num_workers: Workers of one process.
        rank: Of the process.
        seed: Of the run; the same in all processes.
        disable_subprocess_warning: Ignore warnings in all workers but worker 0.
    """
    # MMEngine's formula: no two workers of a run share a seed.
    worker_seed = num_workers * rank + worker_id + seed
    # After torch's own seeding, which it replaces. Workers started
    # anew draw the same numbers in each epoch, as in MMEngine.
    np.random.seed(worker_seed)
    random.seed(worker_seed)
    torch.manual_seed(worker_seed)
    if disable_subprocess_warning and worker_id != 0:
        warnings.simplefilter("ignore")


def set_sampler_epoch(loader: Any, epoch: int) -> None:
    """Call ``set_epoch`` of the loader's sampler, else of its batch sampler's sampler; do nothing if neither has it."""
    # With a batch sampler of the user's own, torch's DataLoader has a SequentialSampler as ``sampler``.
    inner = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    for sampler in (getattr(loader, "sampler", None), inner):
        if sampler is not None and hasattr(sampler, "set_epoch"):
            sampler.set_epoch(epoch)
            return


def length_of(data: Any) -> int | None:
    """Return the length of a loader or a data set; ``None`` if it has none, as an ``IterableDataset``.

    >>> length_of("abc"), length_of(iter("abc"))
    (3, None)
    """
    try:
        return len(data)
    # torch's DataLoader raises the one; samplers and data sets of torch's older style the other.
    except (TypeError, NotImplementedError):
        return None


@FUNCTIONS.register_module()
def pseudo_collate(data_batch: Sequence) -> Any:
    """Turn ``data_batch``, a list of samples, into one sample of lists, stacking nothing.

    Example:
        >>> pseudo_collate([dict(x=1, y="a"), dict(x=2, y="b")])
        {'x': [1, 2], 'y': ['a', 'b']}
    """
    return _collated(data_batch, lambda values: values)


@FUNCTIONS.register_module()
def default_collate(data_batch: Sequence) -> Any:
    """Stack tensors, arrays and numbers along a new first dimension; keep data elements a list.

    ``data_batch`` holds the samples; stacked tensors must have one shape.

    Example:
        >>> default_collate([dict(x=1, y="a"), dict(x=2, y="b")])
        {'x': tensor([1, 2]), 'y': ['a', 'b']}
    """
    return _collated(data_batch, _stack)


def _stack(values: Sequence) -> Any:
    # torch's default_collate raises TypeError for a class that it does not know.
    return values if is_data_element(values[0]) else torch_default_collate(list(values))


class MissingSampleError(ArgumentError):
    """A sample that is None in a batch that cannot be collated with it.

    Attributes:
        place: Its place in the batch.
    """

    place = 0

    @classmethod
    def at(cls, place: int, where: str) -> MissingSampleError:
        """Make one for a place; torch takes over from a worker only what is made of a text."""
        error = cls(
            f"sample {place} {where} is None → the data set, or the last transform of its pipeline, must return a "
            "sample; BaseDataset draws another one in training"
        )
        error.place = place
        return error


def _collated(batch: Sequence, leaf: Callable[[Sequence], Any]) -> Any:
    try:
        return _collate(batch, leaf)
    except (TypeError, RuntimeError) as error:
        # Only here, as MMEngine 0.10.7 collates some batches with None in them.
        missing = [place for place, sample in enumerate(batch) if sample is None]
        if not missing:
            raise
        raise MissingSampleError.at(missing[0], f"of a batch of {len(batch)}") from error


def _collate(batch: Sequence, leaf: Callable[[Sequence], Any]) -> Any:
    """Transpose nested sequences and mappings; ``leaf`` says what becomes of the innermost."""
    first = batch[0]
    kind: Any = type(first)
    # The usual ones first: Sequence and Mapping ask through Python's abstract classes, which takes longer.
    if isinstance(first, torch.Tensor):
        return leaf(batch)
    # Before Sequence: a string would be taken apart into characters.
    if isinstance(first, (str, bytes)):
        return batch
    # A named tuple takes its fields one by one, not as one iterable.
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        return kind(*(_collate(column, leaf) for column in zip(*batch, strict=False)))
    if isinstance(first, (dict, Mapping)):
        return kind({key: _collate([sample[key] for sample in batch], leaf) for key in first})
    if isinstance(first, Sequence):
        return _collate_sequences(batch, leaf)
    return leaf(batch)


def _collate_sequences(batch: Sequence, leaf: Callable[[Sequence], Any]) -> Any:
    sizes = [len(sample) for sample in batch]
    if len(set(sizes)) > 1:
        raise StateError(
            f"each data item in list of batch should be of equal size, but got lengths {sizes}: "
            "pad them in the pipeline, or give the loader a collate_fn of your own."
        )
    columns = [_collate(column, leaf) for column in zip(*batch, strict=True)]
    kind: Any = type(batch[0])
    # A list, as torch's default_collate gives for tuples.
    if issubclass(kind, tuple):
        return columns
    try:
        return kind(columns)
    except TypeError:  # a sequence that is not made from an iterable, such as range
        return columns
