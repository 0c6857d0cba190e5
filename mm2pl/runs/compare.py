"""Runs next to each other: what differs in configs and versions, the metrics, the checkpoints."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mm2pl.runs.configs import leaves
from mm2pl.runs.curves import short_names
from mm2pl.runs.environment import environment_of
from mm2pl.runs.folders import modified, size_of
from mm2pl.runs.listing import duration, progress, size
from mm2pl.runs.record import Run
from mm2pl.runs.tables import Table

MISSING = "–"
"""What stands where a run has no such value."""

_ABSENT = object()
_WIDTH = 60

_PLACES = ("work_dir", "_base_", "cfg_options", "local_rank")
"""Keys that differ between any two runs, and say only where they are."""


@dataclass(frozen=True)
class Section:
    """A table: a row per value, a column per run.

    Attributes:
        rows: The name of a value, and what it is in each run.
        note: What there is to say where there are no rows.
    """

    title: str
    rows: list[tuple[str, list[str]]]
    note: str = ""

    @property
    def note_shown(self) -> str:
        """The note, as far as the rows leave something to say."""
        if not self.rows:
            return self.note or "nothing"
        return "" if self.note == "the same in all" else self.note


@dataclass(frozen=True)
class Comparison:
    """All that was compared.

    Attributes:
        names: Of the runs, as short as they can be.
    """

    names: list[str]
    sections: list[Section]

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold."""
        return {
            "runs": self.names,
            **{
                section.title: {
                    name: dict(zip(self.names, values, strict=True))
                    for name, values in section.rows
                }
                for section in self.sections
            },
        }


def compare(runs: Sequence[Run]) -> Comparison:
    """Compare runs by the files of their folders; of checkpoints only sizes and dates."""
    # An empty config would be a leaf without a name.
    configs = [dict(leaves(run.config)) if run.config else {} for run in runs]
    environments = [environment_of(run.folder) for run in runs]
    return Comparison(
        short_names([run.name for run in runs]),
        [
            Section("config", _config_rows(configs), _said(configs, "config")),
            Section("environment", differing(environments), _said(environments, "log")),
            Section("results", _results(runs)),
            Section("checkpoints", _checkpoints(runs)),
        ],
    )


def differing(values: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return the rows of what is not the same everywhere, in the order in which it comes."""
    names = dict.fromkeys(name for each in values for name in each)
    rows = []
    for name in names:
        found = [each.get(name, _ABSENT) for each in values]
        if len(set(map(repr, found))) > 1:
            rows.append((name, shown(found)))
    return rows


def _config_rows(configs: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[str]]]:
    """Return what differs; of a part that only some have, one row."""
    rows = [row for row in differing(configs) if row[0].partition(".")[0] not in _PLACES]
    found: dict[str, list[str]] = {}
    for name, values in rows:
        parts = name.split(".")
        # The shortest beginning of the path under which exactly the same runs have nothing.
        for end in range(1, len(parts) + 1):
            start = ".".join(parts[:end])
            below = [
                any(path == start or path.startswith(f"{start}.") for path in each)
                for each in configs
            ]
            if below == [value != MISSING for value in values] and not all(below):
                break
        if start == name:
            found[name] = values
        else:
            cells = [
                {p[len(start) + 1 :]: v for p, v in each.items() if p.startswith(f"{start}.")}
                for each in configs
            ]
            there = zip(below, cells, strict=True)
            found[start] = shown([cell if is_there else _ABSENT for is_there, cell in there])
    return list(found.items())


def _said(values: Sequence[Mapping[str, Any]], what: str) -> str:
    if not all(values):
        return f"not every run has left a {what} that can be read"
    return "the same in all"


def shown(values: Sequence[object]) -> list[str]:
    """Write values in one line each, of at most 60 characters; those that differ are written so that one sees it.

    >>> shown([1, 1.5]), shown([1, "1"])
    (['1', '1.5'], ['1', "'1'"])
    >>> shown(["a" * 90 + "b", "a" * 90 + "c"])
    ['...aaaaaaaaaaaaaaaaaaaab', '...aaaaaaaaaaaaaaaaaaaac']
    """
    different = len(set(map(repr, values)))
    texts = [MISSING if each is _ABSENT else " ".join(str(each).split()) for each in values]
    if len(set(texts)) < different:
        texts = [MISSING if each is _ABSENT else repr(each) for each in values]
    if len({text[: _WIDTH - 3] for text in texts}) < different:
        there = [t for t, v in zip(texts, values, strict=True) if v is not _ABSENT]
        letters = enumerate(zip(*there, strict=False))
        alike = next((i for i, each in letters if len(set(each)) > 1), min(map(len, there)))
        start = max(0, alike - 20)
        texts = [f"...{text[start:]}" if start and text in there else text for text in texts]
    return [text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..." for text in texts]


def _results(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    records = [run.record() for run in runs]
    rows = [
        ("state", [record.state for record in records]),
        ("progress", [progress(record) or MISSING for record in records]),
        ("it/s", [f"{1 / s:.3g}" if (s := r.seconds_per_iter) else MISSING for r in records]),
        ("last loss", [MISSING if r.loss is None else f"{r.loss:.4g}" for r in records]),
    ]
    for key in dict.fromkeys(key for run in runs for key in run.history.metrics()):
        bests = [run.best(key) for run in runs]
        lasts = [[r.values[key] for r in run.history.val if key in r.values][-1:] for run in runs]
        rows.append((f"{key}, last", [f"{v[0]:.4g}" if v else MISSING for v in lasts]))
        if any(best is not None and best.rule for best in bests):
            texts = [b.text.removeprefix(f"{key} ") if b else MISSING for b in bests]
            rows.append((f"{key}, best", texts))
    return [row for row in rows if set(row[1]) != {MISSING}]


def _checkpoints(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    now = time.time()
    found = [{path.name: path for path in run.folder.checkpoints} for run in runs]
    rows = []
    for name in dict.fromkeys(name for each in found for name in each):
        paths = [each.get(name) for each in found]
        texts = [
            f"{size(size_of(path))}, {duration(max(0, now - modified(path)))} ago"
            if path
            else MISSING
            for path in paths
        ]
        rows.append((name, texts))
    return rows


def tables(comparison: Comparison) -> list[Table]:
    """Return a table for each section, with the runs in columns."""
    return [
        Table(
            title=section.title,
            heads=["", *comparison.names],
            rows=[[name, *values] for name, values in section.rows],
            note=section.note_shown,
        )
        for section in comparison.sections
    ]
