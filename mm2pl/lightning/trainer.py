"""Trainer arguments as plain data, and the Trainer from them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer


def instantiate(node: Any) -> Any:
    """Build ``{"class_path": …, "init_args": {…}}``, as LightningCLI does; anything else is returned as it is."""
    if isinstance(node, list):
        return [instantiate(item) for item in node]
    if not (isinstance(node, dict) and "class_path" in node):
        return node
    module, _, name = node["class_path"].rpartition(".")
    cls = getattr(importlib.import_module(module), name)
    return cls(**{key: instantiate(value) for key, value in node.get("init_args", {}).items()})


def make_trainer(arguments: dict[str, Any], callback: Callback) -> Trainer:
    """Build the Trainer of a run.

    Args:
        arguments: Trainer arguments in LightningCLI's form.
        callback: The run's own callback; it comes first.
    """
    from lightning.pytorch import Trainer

    from mm2pl.lightning.progress_bar import with_progress_bar

    built = {name: instantiate(value) for name, value in arguments.items()}
    callbacks = [callback, *(built.pop("callbacks", None) or [])]
    bar = with_progress_bar(built.pop("enable_progress_bar", None), callbacks)
    return Trainer(**built, **bar)
