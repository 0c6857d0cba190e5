"""Who has a hook of Lightning's of their own, and is therefore to be called."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback, LightningModule

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


def overrides(owner: Any, hook: str, base: type) -> bool:
    """Return whether an object's method for a hook is another than that of Lightning's ``base``, which does nothing."""
    # Not Lightning's `is_overridden`: it looks through functools.wraps, and fails at an object that can be called.
    method = getattr(owner, hook)
    return getattr(method, "__func__", method) is not getattr(base, hook)


def listeners(trainer: Trainer, hook: str) -> list[Callable[..., Any]]:
    """Return, in Lightning's order, the methods for a hook of those who override it; the module's is the last."""
    module: Any = trainer.lightning_module
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    bound: list[Callable[..., Any]] = [
        partial(getattr(callback, hook), trainer, module)
        for callback in callbacks
        if overrides(callback, hook, Callback)
    ]
    if overrides(module, hook, LightningModule):
        bound.append(getattr(module, hook))
    return bound
