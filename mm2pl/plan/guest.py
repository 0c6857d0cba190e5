"""Whether a config's model is a LightningModule, which brings what a config need not say then."""

from __future__ import annotations

from collections.abc import Mapping

from mm2pl.registry import MODELS


def has_own_steps(model: object) -> bool:
    """Return whether a model, or the class that its dict names, is trained by a ``training_step`` of its own.

    >>> has_own_steps({"type": "BaseModel"}), has_own_steps({"type": "nobody.has.this"})
    (False, False)
    """
    kind = model.get("type") if isinstance(model, Mapping) else model
    if isinstance(kind, str):
        try:
            kind = MODELS.get(kind)
        except (ImportError, LookupError):  # said better when the model is built
            return False
    return hasattr(kind, "training_step")
