"""Calling ``forward`` with what a data preprocessor returned."""

from __future__ import annotations

import inspect
from typing import Any

from torch import nn


def run_forward(model: nn.Module, data: Any, mode: str) -> Any:
    """Call ``model(**data, mode=mode)`` or ``model(*data, mode=mode)``.

    ``model`` may be a wrapper; messages are about the module within.

    Raises:
        TypeError: ``data`` is neither dict, list nor tuple, ``forward`` does not take it, or it returned nothing.
    """
    keywords = isinstance(data, dict)
    if not keywords and not isinstance(data, (list, tuple)):
        raise TypeError(
            f"Output of `data_preprocessor` should be list, tuple or dict, but got {type(data)}: it is unpacked into "
            f"the arguments of forward"
        )
    try:
        results = model(**data, mode=mode) if keywords else model(*data, mode=mode)
    except TypeError as error:
        misfit = _misfit(model, () if keywords else data, data if keywords else {})
        if misfit is None:
            raise
        raise TypeError(misfit) from error
    if results is None:
        name = type(getattr(model, "module", model)).__name__
        raise TypeError(
            f"{name}.forward(mode={mode!r}) returned None: is there a branch for mode == {mode!r}?"
        )
    return results


def _misfit(model: nn.Module, args: Any, kwargs: dict[str, Any]) -> str | None:
    """Say why ``forward`` cannot take these arguments; None if it can."""
    inner = getattr(model, "module", model)
    if "mode" in kwargs:
        return "the batch has a key 'mode', which is what forward is called with: rename it"
    signature = inspect.signature(inner.forward)
    try:
        signature.bind(*args, **kwargs, mode="loss")
    except TypeError as problem:
        given = ", ".join(
            [*(type(arg).__name__ for arg in args), *(f"{name}=..." for name in kwargs)]
        )
        return (
            f"{type(inner).__name__}.forward{signature} was called as forward({given}, mode=...), but {problem}: it "
            f"must take what data_preprocessor returns, unpacked, and `mode`"
        )
    return None
