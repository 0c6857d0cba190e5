"""What is wrong with a config, before anything of it is built: the table of keys, applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from mm2pl.closest import misspelt
from mm2pl.config import Config
from mm2pl.config.errors import Site
from mm2pl.config.origin import Origins
from mm2pl.errors import ArgumentError
from mm2pl.plan.combinations import combined
from mm2pl.plan.fault import Fault, FaultyConfigError, short
from mm2pl.plan.keys import KEYS
from mm2pl.plan.legacy import LEGACY, is_legacy
from mm2pl.plan.tabled import name_of, top_level
from mm2pl.plan.typed import Types


def faults_of(
    config: Config | Mapping[str, Any],
    types: bool = True,
    origins: Mapping[str, str] | None = None,
    trusted: bool = True,
) -> list[Fault]:
    """Return what is wrong with a config, at most one fault per key.

    Args:
        config: A :class:`~mm2pl.config.Config`, whose files then tell where a value is set, or its keys. Values may be
            live objects.
        types: Also look up every ``type`` and compare its arguments with its signature. That imports what the config
            names, and all that mm2pl registers where a name is wrong.
        origins: Dotted key → the word of a command line that has set it.
        trusted: Whether modules that the config names may be imported; without it no type is looked up.
    """
    keys = dict(config.items())
    if is_legacy(keys):
        first = next(name for name in keys if name in LEGACY)
        note = "this is an MMCV 1.x config as a whole → mm2pl migrate OLD -o NEW"
        faults = [Fault(path=first, given=short(keys[first]), advice=note)]
    elif keys and (note := no_config(keys)):
        faults = [Fault(path=next(iter(keys)), advice=note)]
    else:
        plain = {name: each for name, each in keys.items() if not for_own_loop(keys, name)}
        faults = [fault for name, value in plain.items() for fault in top_level(name, value)]
        faults += combined(keys, trusted)
        if types and trusted:
            faults += Types(keys).faults()
    faults = _one_per_path(faults)
    placing = Placing(config, origins) if faults else None
    return [replace(fault, origin=placing.of(fault.path)) for fault in faults] if placing else []


def no_config(keys: Mapping[str, Any]) -> str:
    """Return why the content of a file is not a config at all, or ``""`` if it may be one.

    >>> no_config({"images": []})
    'a config has keys such as model, data_preprocessor, optim_wrapper; this file has images'
    """
    if is_legacy(keys) or any(name in KEYS or misspelt(name, KEYS) for name in keys):
        return ""
    given = ", ".join([*map(str, keys)][:5]) or "none"
    return f"a config has keys such as {', '.join([*KEYS][:3])}; this file has {given}"


def require_config(config: Config) -> None:
    """Refuse a file that is not a config.

    Raises:
        ArgumentError: Naming the file and what it has.
    """
    if note := no_config(dict(config.items())):
        raise ArgumentError(f"{config.filename or 'this'} does not hold a config: {note}")


def for_own_loop(config: Mapping[str, Any], name: str) -> bool:
    """Return whether a loader or an evaluator goes to a loop of the user's own, which may take it in any form.

    >>> own = {"val_cfg": {"type": "MultiValLoop"}, "val_dataloader": [{}]}
    >>> for_own_loop(own, "val_dataloader"), for_own_loop({"val_cfg": {}, "val_dataloader": 1}, "val_dataloader")
    (True, False)
    """
    stage, _, part = name.partition("_")
    cfg, value = config.get(f"{stage}_cfg"), config.get(name)
    if part not in ("dataloader", "evaluator") or cfg is None:
        return False
    if isinstance(value, Mapping) and ("dataset" in value or "type" in value):
        return False  # in the usual form
    usual = KEYS[f"{stage}_cfg"].inside
    kind = cfg.get("type") if isinstance(cfg, Mapping) else cfg
    return kind is not None and usual is not None and name_of(kind) not in usual.types


def refuse(faults: Sequence[Fault], strict: bool = False) -> None:
    """Raise if there is an error among the faults, or ``strict`` and there is any.

    Raises:
        FaultyConfigError: Naming all of them.
    """
    if faults and (strict or any(fault.severity == "error" for fault in faults)):
        raise FaultyConfigError(faults)


def _one_per_path(faults: Sequence[Fault]) -> list[Fault]:
    found: dict[str, Fault] = {}
    for fault in faults:
        known = found.get(fault.path)
        if known is None or (known.severity, fault.severity) == ("warning", "error"):
            found[fault.path] = fault
    # What is wrong inside a value that is refused as a whole says nothing more.
    return [
        fault
        for path, fault in found.items()
        if not any(
            path.startswith(f"{other}.") and found[other].accepted and found[other].given
            for other in found
        )
    ]


class Placing:
    """Where the keys of a config are set: by a word of the command line, or in the config's files.

    Args:
        config: A :class:`~mm2pl.config.Config`, or keys without a file.
        words: Dotted key → the word that has set it, in their order.

    >>> Placing({}, {"train_cfg": "--cfg-options"}).of("train_cfg.max_epochs")
    '--cfg-options'
    """

    def __init__(
        self, config: Config | Mapping[str, Any], words: Mapping[str, str] | None = None
    ) -> None:
        filename = getattr(config, "filename", None)
        self._files = Origins(str(filename)) if filename else None
        self._words = [*(words or {}).items()][::-1]

    def of(self, path: str) -> Site | str | None:
        """Return where a key is set, or None if that is not known."""
        for key, word in self._words:
            # A word inside a value that is wrong as a whole has made it so.
            if f"{path}.".startswith(f"{key}.") or key.startswith(f"{path}."):
                return word
        return self._files.of(path) if self._files is not None else None
