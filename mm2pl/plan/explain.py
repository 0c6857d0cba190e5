"""Say of every key of a config where it goes, or why it goes nowhere. Pure: nothing is built or imported."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from mm2pl.closest import did_you_mean, misspelt
from mm2pl.plan.containers import join
from mm2pl.plan.keys import KEYS, SUBKEYS, UNSUPPORTED, SubKeys
from mm2pl.plan.legacy import LEGACY, is_legacy

Status = Literal["exact", "equivalent", "ignored", "unused", "warning", "error"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row of the explanation.

    Attributes:
        key: Dotted path in the config.
        value: The value, shortened.
        target: What it becomes in Lightning, or ``—``.
        status: ``exact`` to the last bit, ``equivalent``, ``ignored`` or ``unused`` for a harmless reason, ``warning``
            if the user probably expects an effect that it has not, ``error`` if the run will refuse it.
        note: The reason, or what to write instead.
    """

    key: str
    value: str
    target: str
    status: Status
    note: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the row as plain data."""
        return asdict(self)


def explain(config: Mapping[str, Any]) -> list[Entry]:
    """List every key of a config.

    Args:
        config: The config's keys; values may be live objects.
    """
    if is_legacy(config):
        note = "this is an MMCV 1.x config as a whole → mm2pl migrate OLD -o NEW"
        return [entry(name, value, "—", "error", note) for name, value in config.items()]
    return [row for name, value in config.items() for row in top_level(name, value)]


def top_level(name: str, value: object) -> Iterator[Entry]:
    """Explain one top-level key and what is known below it."""
    if name in KEYS:
        key = KEYS[name]
        yield entry(name, value, key.target, key.fidelity, key.note)
        yield from below(name, value)
    elif name in LEGACY:
        note = f"a key of MMCV 1.x, ignored here → {LEGACY[name]}"
        yield entry(name, value, "—", "warning", note)
    # MMEngine ignores any unknown name; a near miss of a known key is hardly a variable of the user's.
    elif meant := misspelt(name, KEYS):
        yield entry(name, value, "—", "warning", f"unknown, ignored → did you mean {meant!r}?")
    else:
        yield entry(name, value, "—", "unused", "a variable of the config's own")


def below(name: str, value: object) -> Iterator[Entry]:
    """Explain the keys inside a known key: a dict, or a list of dicts."""
    known = SUBKEYS.get(name)
    if known is None:
        return
    if isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from rows(known, join(name, i), item)
    elif known.named:
        for key, item in value.items() if isinstance(value, Mapping) else ():
            # MMEngine's `register_default_hooks` takes None for "without this one".
            if item is None:
                yield entry(join(name, key), item, "—", "exact", "removes this default hook")
            else:
                yield from rows(known, join(name, key), item)
    else:
        yield from rows(known, name, value)


def rows(known: SubKeys, path: str, value: object) -> Iterator[Entry]:
    """Explain one dict against a table of known keys."""
    if not isinstance(value, Mapping):
        return
    kind = value.get("type")
    if isinstance(kind, str) and kind in UNSUPPORTED:
        yield entry(join(path, "type"), kind, "—", "error", UNSUPPORTED[kind])
    if known.summary:
        # A pure-Python config has the class itself as its type.
        text = known.summary.format(type=getattr(kind, "__name__", kind))
        yield entry(path, value, text, known.fidelity)
        return
    # A class of the user's own may take any argument.
    custom = kind is not None and kind not in known.types
    for key, item in value.items():
        where = join(path, key)
        if key in known.keys:
            yield entry(where, item, known.keys[key], known.fidelity)
        elif key in known.moved:
            yield entry(
                where, item, "—", "warning", f"MMEngine ignores it here → {known.moved[key]}"
            )
        elif custom or key == "type" or not known.closed:
            yield entry(where, item, known.rest, known.fidelity)
        else:
            meant = misspelt(str(key), known.keys)
            hint = did_you_mean([meant] if meant else [])
            note = f"unknown → one of {', '.join(known.keys)}.{hint}"
            yield entry(where, item, "—", known.unknown, note)
    # MMEngine 0.10.7 refuses the pair too, but only in `train()`, when it builds the loop.
    both = {"type", "by_epoch"} <= value.keys() and path == "train_cfg"
    if both:
        yield entry(
            "train_cfg", value, "—", "error", "has type and by_epoch → give only one of the two"
        )


def entry(key: str, value: object, target: str, status: Status, note: str = "") -> Entry:
    """Make a row, with the value shortened to one line."""
    text = " ".join(repr(value).split())
    short = text if len(text) <= 48 else f"{text[:45]}..."
    return Entry(key=key, value=short, target=target, status=status, note=note)


def problems(config: Mapping[str, Any]) -> list[Entry]:
    """Return the rows a user must hear about before a run: warnings and errors."""
    return [row for row in explain(config) if row.status in ("warning", "error")]


def check(config: Mapping[str, Any], strict: bool = False) -> list[Entry]:
    """Return the keys without the effect that their author expects.

    Raises:
        ValueError: If the run would refuse one of them, or ``strict`` and there is one.
    """
    found = problems(config)
    if found and (strict or any(row.status == "error" for row in found)):
        raise ValueError(f"the config has keys that will not do what they say:\n{_lines(found)}")
    return found


def warn(entries: Sequence[Entry]) -> None:
    """Say in one block, on standard error, what :func:`check` has returned; the log's level must not hide it."""
    if entries:
        print(
            f"mm2pl: WARNING: these keys of the config have no effect:\n{_lines(entries)}",
            file=sys.stderr,
        )


def _lines(entries: Sequence[Entry]) -> str:
    return "\n".join(f"  {row.key} = {row.value}: {row.note}" for row in entries)


def table(entries: list[Entry], style: Literal["text", "md"] = "text") -> str:
    """Lay the rows out as aligned text, or as a Markdown table."""
    head = ("key", "value", "Lightning", "status", "note")
    cells = [head, *(tuple(row.as_dict().values()) for row in entries)]
    if style == "md":
        # Before Python 3.12 the braces of an f-string may hold no backslash.
        lines = [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells
        ]
        return "\n".join([lines[0], "|---" * len(head) + "|", *lines[1:]])
    widths = [max(len(row[i]) for row in cells) for i in range(4)]
    return "\n".join(
        "  ".join([*(row[i].ljust(widths[i]) for i in range(4)), row[4]]).rstrip() for row in cells
    )
