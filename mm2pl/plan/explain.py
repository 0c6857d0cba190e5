"""Say of every key of a config where it goes, or why it goes nowhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from mm2pl.config import Config
from mm2pl.config.errors import Site
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, short
from mm2pl.plan.key import Inside
from mm2pl.plan.keys import KEYS
from mm2pl.plan.legacy import is_legacy
from mm2pl.plan.registered import ours
from mm2pl.plan.schema import Placing, faults_of, refuse
from mm2pl.plan.takes import Takes
from mm2pl.plan.typed import Types
from mm2pl.registry import VISBACKENDS

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
        origin: The file and line, or the word of the command line, that has set it; empty if that is not known.
    """

    key: str
    value: str
    target: str
    status: Status
    note: str = ""
    origin: str = ""

    def as_dict(self) -> dict[str, str]:
        """Return the row as plain data."""
        return asdict(self)


def explain(
    config: Config | Mapping[str, Any],
    types: bool = False,
    origins: Mapping[str, str] | None = None,
    doubts: Sequence[Fault] = (),
) -> list[Entry]:
    """List every key of a config.

    Args:
        config: A :class:`~mm2pl.config.Config`, or its keys; values may be live objects.
        types: Look up each ``type`` too; see :func:`~mm2pl.plan.schema.faults_of`.
        origins: Dotted key → the word of a command line that has set it.
        doubts: What else is known to have no effect.
    """
    if is_legacy(dict(config.items())):
        note = "this is an MMCV 1.x config as a whole → mm2pl migrate OLD -o NEW"
        return [entry(name, value, "—", "error", note) for name, value in config.items()]
    table_rows = [row for name, value in config.items() for row in top_level(name, value)]
    if "visualizer" in config:
        after = [row.key for row in table_rows].index("visualizer") + 1
        table_rows[after:after] = loggers(dict(config.items()), types)
    placing = Placing(config, origins)
    placed = [replace(row, origin=_placed(placing.of(row.key))) for row in table_rows]
    return with_faults(placed, [*faults_of(config, types, origins, trusted=types), *doubts])


def _placed(origin: Site | str | None) -> str:
    """Return a place as a table has room for it: ``base.py:3``."""
    if isinstance(origin, Site):
        return str(Site(os.path.basename(origin.filename), origin.lineno))
    return origin or ""


def with_faults(entries: Sequence[Entry], faults: Sequence[Fault]) -> list[Entry]:
    """Put faults in the place of the rows of their keys; one without a row follows the nearest row above it."""
    wrong = {fault.path: fault for fault in faults}
    known = {row.key for row in entries}
    for path in [path for path in wrong if path not in known]:
        # A wrong `type` makes the whole of what it builds wrong.
        owner = path.removesuffix(".type")
        if owner != path and owner in known:
            fault = wrong.pop(path)
            wrong.setdefault(owner, replace(fault, advice=f"type={fault.given}; {fault.advice}"))
    rows = [_faulty(row, wrong.pop(row.key, None)) for row in entries]
    for path, fault in wrong.items():
        keys = [row.key for row in rows]
        above = path
        while above and above not in keys:
            above = above.rpartition(".")[0]
        # Behind what is already said of the same key.
        inside = [i for i, key in enumerate(keys) if key == above or key.startswith(f"{above}.")]
        at = inside[-1] + 1 if above and inside else len(rows)
        rows.insert(
            at, _faulty(Entry(key=path, value=fault.given, target="", status="error"), fault)
        )
    return rows


def _faulty(row: Entry, fault: Fault | None) -> Entry:
    if fault is None:
        return row
    status: Status = "error" if fault.severity == "error" else "warning"
    return replace(row, target="—", status=status, note=fault.reason, origin=_placed(fault.origin))


def top_level(name: str, value: object) -> Iterator[Entry]:
    """Explain one top-level key and what is known inside it."""
    if name in KEYS:
        key = KEYS[name]
        yield entry(name, value, key.target, key.fidelity, key.note)
        if key.inside is not None:
            yield from inside(key.inside, name, value, key.fidelity)
    else:
        yield entry(name, value, "—", "unused", "a variable of the config's own")


def loggers(config: Mapping[str, Any], types: bool) -> Iterator[Entry]:
    """Explain which of the Trainer's loggers each backend of the visualizer becomes.

    Args:
        config: Its keys.
        types: Look up each type; without it only mm2pl's own are known.
    """
    path = "visualizer.vis_backends"
    value = config.get("visualizer")
    backends = value.get("vis_backends") if isinstance(value, Mapping) else None
    look_up = Types(config).look_up
    for i, backend in enumerate(backends if isinstance(backends, list | tuple) else ()):
        kind = backend.get("type") if isinstance(backend, Mapping) else None
        if kind is None:
            continue
        known = None
        if isinstance(kind, str):
            bare = kind.removeprefix("mmengine.").removeprefix("mm2pl.")
            known = ours()[VISBACKENDS.name].get(bare)
        if types or not isinstance(kind, str):
            known = look_up(VISBACKENDS, kind, backend.get("_scope_"))[0] or known
        target = f"{_logger(known, kind)} in trainer.loggers"
        yield entry(join(path, i), backend, target, "exact")


def _logger(known: Takes | None, kind: object) -> str:
    """Name what `connect_loggers` of the bridge makes of a backend."""
    if known is None or "logger" not in known.methods:
        return f"BackendLogger({known.name if known is not None else kind})"
    return known.logger or f"the logger of {known.name}"


def inside(known: Inside, path: str, value: object, fidelity: Status) -> Iterator[Entry]:
    """Explain the keys inside a known key: a dict, or a list or a dict of dicts."""
    if known.item is None:
        yield from rows(known, path, value, fidelity)
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from rows(known, join(path, i), item, fidelity)
    elif isinstance(value, Mapping) and "type" not in value:
        for key, item in value.items():
            # MMEngine's `register_default_hooks` takes None for "without this one".
            if item is None:
                yield entry(join(path, key), item, "—", "exact", "removes this default hook")
            else:
                yield from rows(known, join(path, key), item, fidelity)
    else:
        yield from rows(known, path, value, fidelity)


def rows(known: Inside, path: str, value: object, fidelity: Status) -> Iterator[Entry]:
    """Explain one dict against a table of known keys."""
    if not isinstance(value, Mapping):
        return
    if known.summary:
        # A pure-Python config has the class itself as its type.
        kind = value.get("type")
        text = known.summary.format(type=getattr(kind, "__name__", kind))
        yield entry(path, value, text, fidelity)
        return
    for key, item in value.items():
        found = known.keys.get(key)
        target = found.target if found is not None else ""
        yield entry(join(path, key), item, target or known.rest, fidelity)


def entry(key: str, value: object, target: str, status: Status, note: str = "") -> Entry:
    """Make a row, with the value shortened to one line."""
    return Entry(key=key, value=short(value), target=target, status=status, note=note)


def check(
    config: Config | Mapping[str, Any], strict: bool = False, trusted: bool = True
) -> list[Entry]:
    """Return the keys without the effect that their author expects.

    Args:
        config: A config, or its keys.
        strict: Refuse these too.
        trusted: Whether modules that the config names may be imported.

    Raises:
        FaultyConfigError: If the run would refuse one of them, or ``strict`` and there is one.
    """
    faults = faults_of(config, types=False, trusted=trusted)
    refuse(faults, strict)
    return with_faults([], faults)


def typed_doubts(config: Config | Mapping[str, Any]) -> list[Entry]:
    """Return the arguments of classes that have not the effect that their author expects.

    What the table of keys says without the classes is left out.
    """
    told = {fault.path for fault in faults_of(config, types=False)}
    found = faults_of(config)
    doubts = [f for f in found if f.severity == "warning" and f.path not in told]
    return with_faults([], doubts)


def warn(entries: Sequence[Entry]) -> None:
    """Say in one block, on standard error, what :func:`check` has returned; the log's level must not hide it."""
    if entries:
        print(
            f"mm2pl: WARNING: these keys of the config will not do what they say:\n{_lines(entries)}",
            file=sys.stderr,
        )


def _lines(entries: Sequence[Entry]) -> str:
    return "\n".join(
        f"  {row.key} = {row.value}: {row.note}{f' ({row.origin})' if row.origin else ''}"
        for row in entries
    )


def table(entries: list[Entry], style: Literal["text", "md"] = "text") -> str:
    """Lay the rows out as aligned text, or as a Markdown table."""
    head = ("key", "value", "Lightning", "status", "note", "set by")
    return laid_out([head, *(tuple(row.as_dict().values()) for row in entries)], style)


def laid_out(cells: Sequence[tuple[str, ...]], style: Literal["text", "md"] = "text") -> str:
    """Lay rows out as aligned text, or as a Markdown table; the first is the head."""
    if style == "md":
        # Before Python 3.12 the braces of an f-string may hold no backslash.
        lines = [
            f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells
        ]
        return "\n".join([lines[0], "|---" * len(cells[0]) + "|", *lines[1:]])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    )
