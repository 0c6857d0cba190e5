"""Telling a wrapper from a model, by what is registered; who reads weights and who builds models both ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mm2pl.registry.root import MODEL_WRAPPERS

if TYPE_CHECKING:
    from torch import nn

    from mm2pl.registry.registry import Registry


def is_model_wrapper(model: nn.Module, registry: Registry = MODEL_WRAPPERS) -> bool:
    """Return whether ``model`` is an instance of a registered wrapper class, those of toolboxes included.

    Registered are torch's ``DataParallel`` and ``DistributedDataParallel`` and what derives from them here.

    ``registry`` holds the classes that count; children of it are searched too.
    """
    if registry is MODEL_WRAPPERS:
        # Torch's classes are registered by the room of models, which a bare nn.Module does not need.
        registry.import_from_location()
    classes = tuple(cls for cls in registry.module_dict.values() if isinstance(cls, type))
    return isinstance(model, classes) or any(
        is_model_wrapper(model, child) for child in registry.children.values()
    )
