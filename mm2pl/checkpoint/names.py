"""The two names of a weight: in a LightningModule, and in a file that MMEngine reads too.

An :class:`~mm2pl.lightning.MMLightningModule` holds the model as ``model``, so its own ``state_dict()`` says
``model.fc.weight``. A file says ``fc.weight``. A subclass may have weights of its own, ``head.weight``, and so may the
model: in a file those of the subclass begin with :data:`OUTER`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, MutableMapping
from typing import Any

INNER = "model."
"""Where the model hangs in the module."""

OUTER = "lightning_module."
"""In a file: a weight of the LightningModule around the model."""


def to_file(state_dict: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Return a module's weights under the names that they have in a file.

    >>> list(to_file({"model.fc.weight": 0, "head.weight": 1}))
    ['fc.weight', 'lightning_module.head.weight']
    """
    return _renamed(
        state_dict,
        lambda name: name.removeprefix(INNER) if name.startswith(INNER) else OUTER + name,
    )


def to_module(state_dict: Mapping[str, Any]) -> OrderedDict[str, Any]:
    """Return the weights of a file under the names that they have in the module.

    >>> list(to_module({"fc.weight": 0, "lightning_module.head.weight": 1}))
    ['model.fc.weight', 'head.weight']
    """
    return _renamed(
        state_dict,
        lambda name: name.removeprefix(OUTER) if name.startswith(OUTER) else INNER + name,
    )


def fits(names: Collection[str], own: Collection[str]) -> tuple[int, int]:
    """Count how many names are a module's own as they stand, and how many if they are read as those of a file.

    A model may have a part that is called ``model``, so no prefix tells the two apart: what fits more often does.

    >>> fits(["fc.weight", "fc.bias"], ["model.fc.weight", "model.fc.bias"])
    (0, 2)
    """
    known = set(own)
    renamed = to_module(dict.fromkeys(names))
    return sum(name in known for name in names), sum(name in known for name in renamed)


def rename_for_module(
    state_dict: MutableMapping[str, Any], prefix: str, own: Collection[str]
) -> None:
    """Give weights that are about to be loaded the module's names, in place, if they have those of a file.

    Args:
        state_dict: What ``load_state_dict`` has got; other modules may have their part in it.
        prefix: What the names of this module begin with: not empty inside another module.
        own: The module's own names, without ``prefix``.
    """
    mine = [name for name in state_dict if name.startswith(prefix)]
    as_module, as_file = fits([name.removeprefix(prefix) for name in mine], own)
    if as_module >= as_file:
        return
    metadata = getattr(state_dict, "_metadata", {})
    part = OrderedDict((name.removeprefix(prefix), state_dict.pop(name)) for name in mine)
    part._metadata = {  # type: ignore[attr-defined]
        name.removeprefix(prefix): value
        for name, value in metadata.items()
        if name.startswith(prefix)
    }
    renamed = to_module(part)
    state_dict.update((prefix + name, value) for name, value in renamed.items())
    # torch finds out with the versions in here whether a buffer may be missing in an older file.
    metadata.update((prefix + name, value) for name, value in renamed._metadata.items())  # type: ignore[attr-defined]


def _renamed(state_dict: Mapping[str, Any], rename: Callable[[str], str]) -> OrderedDict[str, Any]:
    made = OrderedDict((rename(name), value) for name, value in state_dict.items())
    # Names of modules: with a dot behind, they are renamed as weights are.
    versions = getattr(state_dict, "_metadata", {})
    made._metadata = OrderedDict(  # type: ignore[attr-defined]
        (rename(f"{name}.").removesuffix(".") if name else "", value)
        for name, value in versions.items()
    )
    return made
