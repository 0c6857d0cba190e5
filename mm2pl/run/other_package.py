"""The package ``pytorch_lightning``: the same classes as ``lightning.pytorch``, which it does not take for its own."""

from __future__ import annotations

import sys
import warnings

import mm2pl
from mm2pl.errors import ArgumentError

OTHER = "pytorch_lightning"
KINDS = ("Trainer", "LightningModule", "LightningDataModule", "Callback")


def refuse_other_package(*parts: object) -> None:
    """Reject objects of the other package's kinds.

    Raises:
        TypeError: Naming the import that gives the right ones.
    """
    # Not imported for this: whoever has made such an object has done so.
    package = sys.modules.get(OTHER)
    for part in parts:
        for name in KINDS:
            kind = getattr(package, name, None)
            if isinstance(kind, type) and isinstance(part, kind):
                raise ArgumentError(
                    f"{type(part).__name__} is a {name} of the package {OTHER}, and mm2pl works with those of "
                    f"lightning.pytorch, which are others → from lightning.pytorch import {name}"
                )


def warn_of_other_package() -> None:
    """Warn where a Trainer of the other package is likely to be given a module of ours.

    It refuses it with "must be a `LightningModule`, got `MMLightningModule`" before anything of ours is called.
    """
    if OTHER in sys.modules and not mm2pl.FOUND_LIGHTNING:
        warnings.warn(
            f"{OTHER} is imported, whose Trainer takes no module of mm2pl's: it is one of lightning.pytorch → "
            "from lightning.pytorch import Trainer, and callbacks and loggers too",
            stacklevel=3,
        )
