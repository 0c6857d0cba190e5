"""Calling ``forward`` with what a data preprocessor returned."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn

from mm2pl.errors import ArgumentError


def run_forward(model: nn.Module, data: Any, mode: str, wrapper: nn.Module | None = None) -> Any:
    """Call ``model(**data, mode=mode)`` or ``model(*data, mode=mode)``, by way of ``wrapper`` if there is one.

    Raises:
        TypeError: ``data`` is neither dict, list nor tuple, ``forward`` does not take it, or it returned nothing.
    """
    keywords = isinstance(data, dict)
    if not keywords and not isinstance(data, (list, tuple)):
        raise ArgumentError(
            f"Output of `data_preprocessor` should be list, tuple or dict, but got {type(data)}: it is unpacked into "
            f"the arguments of forward"
        )
    try:
        call = model if wrapper is None else wrapper
        results = call(**data, mode=mode) if keywords else call(*data, mode=mode)
    # The signature is read only after a failure, so that an iteration pays nothing for it.
    except TypeError as error:
        misfit = _misfit(model, () if keywords else data, data if keywords else {})
        # The arguments fit, so the error came from inside `forward` and is the user's own.
        if misfit is None:
            raise
        raise ArgumentError(misfit) from error
    # MMEngine 0.10.7 passes None on, and fails later in `parse_losses` or in a metric.
    if results is None:
        raise ArgumentError(
            f"{type(model).__name__}.forward(mode={mode!r}) returned None: is there a branch for mode == {mode!r}?"
        )
    return results


def _misfit(model: nn.Module, args: Any, kwargs: dict[str, Any]) -> str | None:
    """Say why ``forward`` cannot take these arguments; None if it can."""
    if "mode" in kwargs:
        return "the batch has a key 'mode', which is what forward is called with: rename it"
    # That of the model: a wrapper's `forward` takes `*inputs, **kwargs` and would fit everything.
    signature = inspect.signature(model.forward)
    try:
        signature.bind(*args, **kwargs, mode="loss")
    except TypeError as problem:
        given = ", ".join(
            [*(type(arg).__name__ for arg in args), *(f"{name}=..." for name in kwargs)]
        )
        return (
            f"{type(model).__name__}.forward{signature} was called as forward({given}, mode=...), but {problem}: it "
            f"must take what data_preprocessor returns, unpacked, and `mode`"
        )
    return None
