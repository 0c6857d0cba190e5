"""The reference of all keys, generated from the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from mm2pl.plan.classes import CLASSES
from mm2pl.plan.explain import laid_out
from mm2pl.plan.fault import short
from mm2pl.plan.key import Key
from mm2pl.plan.keys import KEYS

Row = tuple[str, str, str, str, str, str]
HEAD: Row = ("key", "accepted", "default", "meaning", "Lightning", "read by")


def rows(keys: Mapping[str, Key] = KEYS, above: str = "", reader: str = "") -> Iterator[Row]:
    """Yield one row per key, those inside a key after it.

    >>> next(rows())[:2]
    ('model', 'dict(type=…) or a torch module')
    """
    for name, key in keys.items():
        path, by = f"{above}{name}", key.reader or reader
        accepted = f"{key.values.words} ({key.unit})" if key.unit else key.values.words
        default = "" if key.default is None else _default(key)
        target = " — ".join(filter(None, (key.target, key.note)))
        yield path, accepted, default, key.meaning, target, by
        if key.inside is not None:
            yield from rows(key.inside.keys, f"{path}.", by)


def class_rows() -> Iterator[Row]:
    """Yield one row per argument of the registered classes whose arguments the table knows."""
    for classes in CLASSES.values():
        for known in dict.fromkeys(map(id, classes.values())):
            names = [name for name, inside in classes.items() if id(inside) == known]
            yield from rows(classes[names[0]].keys, f"{names[0]}.", ", ".join(names))


def reference(style: Literal["text", "md"] = "text") -> str:
    """Return the reference of a config: every key, and the arguments of common classes.

    >>> "train_cfg.max_epochs" in reference("md")
    True
    """
    return laid_out([HEAD, *rows(), *class_rows()], style)


def _default(key: Key) -> str:
    # A text that describes the default reads better without quotes; so does one that is a name.
    return key.default if isinstance(key.default, str) else short(key.default)
