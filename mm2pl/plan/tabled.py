"""Compare a config with the table of keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from mm2pl.closest import closest, did_you_mean, misspelt
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, Severity, short
from mm2pl.plan.key import Inside, Key
from mm2pl.plan.keys import KEYS, UNSUPPORTED
from mm2pl.plan.legacy import LEGACY
from mm2pl.plan.values import Values


def top_level(name: str, value: object) -> Iterator[Fault]:
    """Check one top-level key and what is known inside it."""
    if name in KEYS:
        yield from of_key(KEYS[name], name, value)
    elif name in LEGACY:
        note = f"a key of MMCV 1.x, ignored here → {LEGACY[name]}"
        yield Fault(path=name, given=short(value), advice=note, severity="warning")
    # MMEngine ignores any unknown name; a near miss of a known key is hardly a variable of the user's.
    elif meant := misspelt(name, KEYS):
        note = f"unknown, ignored.{did_you_mean([meant])}"
        yield Fault(path=name, given=short(value), advice=note, severity="warning")


def of_key(key: Key, path: str, value: object) -> Iterator[Fault]:
    """Check one value, and what is known inside it."""
    if not accepts(key.values, value):
        yield _refused(key, path, value)
        return
    for doubtful, why in key.doubts:
        if accepts(doubtful, value):
            yield Fault(path=path, given=short(value), advice=why, severity="warning")
    if key.inside is not None:
        yield from _inside(key.inside, path, value)


def accepts(values: Values, value: object) -> bool:
    """Return whether a value is among ``values``; an object that cannot be compared is not."""
    try:
        return bool(values.accepts(value))
    # An object of the user's may raise anything when it is asked for an attribute or compared.
    except Exception:
        return False


def _refused(key: Key, path: str, value: object) -> Fault:
    unit = f" ({key.unit})" if key.unit else ""
    given, accepted = short(value), f"{key.values.words}{unit}"
    if not key.lax:
        return Fault(path=path, given=given, accepted=accepted, advice=key.advice)
    try:
        truth = f"MMEngine takes it for {bool(value)}"
    # A tensor of several numbers has no truth value, and then MMEngine fails too.
    except Exception:
        return Fault(path=path, given=given, accepted=accepted)
    return Fault(path=path, given=given, accepted=accepted, advice=truth, severity="warning")


def _inside(known: Inside, path: str, value: object) -> Iterator[Fault]:
    """Check the keys inside a known key: a dict, or a list or a dict of dicts."""
    if known.item is not None:
        yield from _items(known, path, value)
    elif isinstance(value, Mapping):
        yield from _entries(known, path, value)
    elif isinstance(value, list | tuple):  # the loaders of several sets
        for number, item in enumerate(value):
            yield from _inside(known, join(path, number), item)


def _items(known: Inside, path: str, value: object) -> Iterator[Fault]:
    assert known.item is not None
    if isinstance(value, list | tuple):
        items: list[tuple[object, object]] = [*enumerate(value)]
    elif isinstance(value, Mapping) and "type" not in value:
        items = [*value.items()]
    else:
        return
    for name, item in items:
        where = join(path, name)
        # The schedules of one of several optimizers.
        if isinstance(item, list | tuple) and not known.named:
            yield from _items(known, where, item)
        elif not accepts(known.item, item):
            each = isinstance(value, Mapping) and not known.named
            note = f"Each value of {path} is one, or a list of them" if each else ""
            yield Fault(path=where, given=short(item), accepted=known.item.words, advice=note)
        # Any name adds a hook. One like a known name leaves that one's default hook in place.
        elif known.named and (meant := misspelt(str(name), known.named)):
            note = f"one more hook, next to the default {meant!r}.{did_you_mean([meant])}"
            yield Fault(path=where, given=short(item), advice=note, severity="warning")


def _entries(known: Inside, path: str, value: Mapping[Any, Any]) -> Iterator[Fault]:
    kind = value.get("type")
    if isinstance(kind, str) and kind in UNSUPPORTED:
        yield Fault(path=join(path, "type"), given=repr(kind), advice=UNSUPPORTED[kind])
    # A class of the user's own may take any argument, and give the known names another meaning.
    custom = kind is not None and bool(known.types) and name_of(kind) not in known.types
    for name in () if custom else known.required:
        if value.get(name) is None:
            needs = known.keys[name].values.words
            yield Fault(
                path=path, given=short(value), advice=f"has no {name} → add {name}: {needs}"
            )
    for name, item in value.items():
        where = join(path, name)
        if name in known.keys:
            # Arguments of a user's class; but what is built by itself, as the wrapper's optimizer, is so anyway.
            if (
                not custom
                or name == "type"
                or known.keys[name].registry
                or known.keys[name].governed
            ):
                yield from of_key(_here(known, name, value), where, item)
        elif name in known.moved:
            note = f"MMEngine ignores it here → {known.moved[name]}"
            yield Fault(path=where, given=short(item), advice=note, severity="warning")
        elif name not in ("type", "_scope_") and known.closed and not custom:
            yield unknown_name(name, item, where, known.keys, known.unknown)


def _here(known: Inside, name: str, value: Mapping[Any, Any]) -> Key:
    """Return a known key; without what is inside it where another reader than the usual one is given."""
    key = known.keys[name]
    usual = known.keys[key.governed].default if key.governed else None
    if key.governed and name_of(value.get(key.governed, usual)) != usual:
        return replace(key, inside=None)
    return key


def unknown_name(
    name: object, value: object, path: str, accepted: Mapping[str, Any], severity: Severity
) -> Fault:
    """Say that a name is none of those that are known in its place."""
    hint = did_you_mean(closest(name, accepted, 1))
    note = f"unknown → one of {', '.join(accepted)}.{hint}"
    return Fault(path=path, given=short(value), advice=note, severity=severity)


def name_of(kind: object) -> object:
    """Return a type's short name: a pure-Python config has the class itself as its type."""
    return getattr(kind, "__name__", kind)
