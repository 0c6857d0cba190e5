"""A compiled step that a copy of its model can have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


class CompiledStep:
    """Stand on a model in the place of one of its methods, compiled at the first call.

    What :func:`torch.compile` returns is a function. ``deepcopy`` shares functions, so a copy of the model would go on
    with the weights of the first one, and pickle refuses it. A bound method is copied with what it is bound to.

    Args:
        step: The bound method.
        options: Of ``torch.compile``.
    """

    def __init__(self, step: Callable[..., Any], options: Mapping[str, Any]) -> None:
        # Under this name `inspect.signature` finds it.
        self.__wrapped__ = step
        self._options = options
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the compiled method."""
        if self._compiled is None:
            self._compiled = torch.compile(self.__wrapped__, **self._options)
        return self._compiled(*args, **kwargs)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_compiled": None}
