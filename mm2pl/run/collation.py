"""Say what is wrong with a batch that nobody has stacked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.dataset import pseudo_collate
from mm2pl.errors import ArgumentError


def unstacked(error: Exception, stage: str, loader: Any, batch: object) -> ArgumentError | None:
    """Return the error to raise for one of a model that got lists where it wants tensors; None if that is not it.

    MMEngine's default ``collate_fn`` stacks nothing: a data preprocessor such as ``ImgDataPreprocessor`` does.

    Args:
        error: What the model has raised.
        stage: ``train``, ``val`` or ``test``.
        loader: The loader of the batch.
        batch: The batch.
    """
    # The words of torch ("must be Tensor, not list") and of Python ("'list' object has no attribute"). Samples that are
    # tuples come as tuples.
    said = any(word in str(error) for word in ("list", "tuple"))
    collate = getattr(loader, "collate_fn", None)
    # A config's dict makes a partial.
    if getattr(collate, "func", collate) is not pseudo_collate or not said:
        return None
    return ArgumentError(
        f"{stage}_dataloader.collate_fn is pseudo_collate (the default), which stacks nothing: a batch is "
        f"{_shape(batch)}, "
        f"and the model wants tensors ({type(error).__name__}: {str(error).splitlines()[0]}) → "
        "collate_fn=dict(type='default_collate'), or a data_preprocessor that stacks"
    )


def _shape(value: object) -> str:
    """Describe a batch.

    >>> _shape({"inputs": [1, 2], "labels": [3, 4]})
    'a dict of inputs: list of 2 int, labels: list of 2 int'
    """
    if isinstance(value, Mapping):
        return f"a dict of {', '.join(f'{key}: {_shape(item)}' for key, item in value.items())}"
    if isinstance(value, list | tuple) and value:
        return f"{type(value).__name__} of {len(value)} {type(value[0]).__name__}"
    return type(value).__name__
