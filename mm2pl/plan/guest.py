"""Whether a config's model is a LightningModule, which brings what a config need not say then."""

from __future__ import annotations

from collections.abc import Mapping

from mm2pl.plan.registered import taken_by_type
from mm2pl.registry import MODELS


def has_own_steps(model: object, trusted: bool = True) -> bool:
    """Return whether a model, or the class that its dict names, is trained by a ``training_step`` of its own.

    Args:
        model: A model, a class, or a dict with its ``type``.
        trusted: Whether the module of the type may be imported.

    >>> has_own_steps({"type": "BaseModel"}), has_own_steps({"type": "nobody.has.this"})
    (False, False)
    """
    kind = model.get("type") if isinstance(model, Mapping) else model
    if isinstance(kind, str):
        if not trusted and "." in kind:
            return False
        try:
            found = taken_by_type(MODELS, kind)
        # Anything may happen in a module of the user's; it is said better when the model is built.
        except Exception:
            return False
        return found is not None and "training_step" in found.methods
    return hasattr(kind, "training_step")
