"""Telling a wrapper from a model."""

from __future__ import annotations

from torch import nn

from mm2pl.registry import MODEL_WRAPPERS, Registry


def is_model_wrapper(model: nn.Module, registry: Registry = MODEL_WRAPPERS) -> bool:
    """Say whether ``model`` is an instance of a registered wrapper class, those of toolboxes included.

    Registered are torch's ``DataParallel`` and ``DistributedDataParallel`` and what derives from them here.
    """
    classes = tuple(cls for cls in registry.module_dict.values() if isinstance(cls, type))
    return isinstance(model, classes) or any(
        is_model_wrapper(model, child) for child in registry.children.values()
    )
