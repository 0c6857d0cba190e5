"""The report of a migration as one HTML page: old and new side by side, and both learning rates."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from html import escape

from mm2pl.mmcv.migration.bases import family_of
from mm2pl.mmcv.migration.curves import Curves, learning_rates
from mm2pl.mmcv.migration.decisions import Decision
from mm2pl.mmcv.migration.files import MigratedFile
from mm2pl.mmcv.migration.report import Entry, Status

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em; color: #222 }
h2 { border-bottom: 1px solid #ccc; font-size: 1.1em; margin-top: 2.5em }
table { border-collapse: collapse; width: 100% }
td, th { border: 1px solid #ddd; padding: 2px 8px; text-align: left; vertical-align: top }
.code { table-layout: fixed } .code td { font: 12px/1.4 monospace; white-space: pre-wrap; width: 50% }
.gone { background: #fdecea } .came { background: #e8f5e9 }
.needs { background: #fff3cd } details { margin: .6em 0 } svg { border: 1px solid #ddd }
"""
_WIDTH, _HEIGHT, _MARGIN = 720, 220, 46


def report_html(files: Iterable[MigratedFile]) -> str:
    """Return the page for some migrated files."""
    shown = list(files)
    migrated = [file for file in shown if file.migrated]
    counts = {s: sum(len(f.report.of(s)) for f in migrated) for s in Status}
    summary = ", ".join(s.counted(counts[s]) for s in Status)
    body = "\n".join(_file(file) for file in shown)
    return (
        "<!doctype html><html><head><meta charset='utf-8'><title>Migrated configs</title>"
        f"<style>{_STYLE}</style></head><body><h1>Migrated configs</h1>"
        f"<p>{len(migrated)} of {len(shown)} files: {summary}.</p>{body}</body></html>\n"
    )


def _file(file: MigratedFile) -> str:
    title = f"<h2>{escape(str(file.source))} → {escape(str(file.target))}</h2>"
    if not file.migrated:
        return f"{title}<p class='needs'>{escape(file.error or file.copied)}</p>"
    needs = file.report.of(Status.NEEDS_YOU)
    notes = file.report.of(Status.NOTE)
    exact = file.report.of(Status.EXACT)
    parts = [title]
    if file.report.decisions:
        parts.append(_decisions(file.report.decisions))
    if needs:
        said = f"{len(needs)} {'needs' if len(needs) == 1 else 'need'} you"
        parts.append(f"<details open><summary>{said}</summary>{_table(needs)}</details>")
    parts.append(
        f"<details open><summary>{len(notes)} with a note</summary>{_table(notes)}</details>"
    )
    parts.append(f"<details><summary>{len(exact)} exact</summary>{_table(exact)}</details>")
    curves = learning_rates(file.old, file.new)
    if curves is not None:
        parts.append(_chart(curves))
    parts.append(_side_by_side(_old_text(file), file.text))
    return "\n".join(parts)


def _old_text(file: MigratedFile) -> str:
    """Return the old side: of a file that has its bases written into it, theirs too."""
    sources = family_of(file.source) if file.alone else [file.source]
    texts = [(path, path.read_text(encoding="utf-8")) for path in sources if path.exists()]
    if len(texts) < 2:
        return "".join(text for _, text in texts)
    return "\n".join(f"# {path.name}\n{text.rstrip()}\n" for path, text in texts)


def _decisions(decisions: Iterable[Decision]) -> str:
    rows = "".join(
        f"<tr><td>{escape(d.about)}</td><td>{escape(d.seen)}</td><td>{escape(d.concluded)}</td>"
        f"<td>{escape(d.sure.value)}</td><td><code>{escape(d.otherwise)}</code></td></tr>"
        for d in decisions
    )
    head = "<tr><th>decided</th><th>seen</th><th>concluded</th><th>how sure</th><th>otherwise</th></tr>"
    return f"<details open><summary>decisions</summary><table>{head}{rows}</table></details>"


def _table(entries: list[Entry]) -> str:
    rows = "".join(
        f"<tr{' class=needs' if e.write else ''}><td>{escape(e.key)}</td><td>{escape(e.target)}</td>"
        f"<td>{escape(e.note)}</td><td><code>{escape(e.write)}</code></td></tr>"
        for e in entries
    )
    return (
        f"<table><tr><th>old key</th><th>new key</th><th>why</th><th>write</th></tr>{rows}</table>"
    )


def _side_by_side(old: str, new: str) -> str:
    left, right = old.splitlines(), new.splitlines()
    rows = []
    # autojunk ignores lines that repeat often in long files, as `dict(` and `),` do in configs.
    matcher = difflib.SequenceMatcher(a=left, b=right, autojunk=False)
    for tag, a0, a1, b0, b1 in matcher.get_opcodes():
        gone, came = ("", "") if tag == "equal" else (" class=gone", " class=came")
        for k in range(max(a1 - a0, b1 - b0)):
            a = left[a0 + k] if a0 + k < a1 else None
            b = right[b0 + k] if b0 + k < b1 else None
            cells = _cell(a, gone) + _cell(b, came)
            rows.append(f"<tr>{cells}</tr>")
    return f"<table class=code><tr><th>old</th><th>new</th></tr>{''.join(rows)}</table>"


def _cell(line: str | None, style: str) -> str:
    return "<td></td>" if line is None else f"<td{style}>{escape(line)}</td>"


def _chart(curves: Curves) -> str:
    """Return the learning rates as an SVG."""
    # A rate of 0 throughout must not divide by 0.
    top = max([*curves.new, *(curves.old or [])]) or 1.0
    last = curves.iters[-1] or 1

    def x(iteration: float) -> float:
        return _MARGIN + iteration / last * (_WIDTH - 2 * _MARGIN)

    def y(rate: float) -> float:
        return _HEIGHT - _MARGIN / 2 - rate / top * (_HEIGHT - _MARGIN)

    def line(values: list[float], style: str) -> str:
        points = " ".join(
            f"{x(i):.1f},{y(v):.1f}" for i, v in zip(curves.iters, values, strict=True)
        )
        return f"<polyline points='{points}' fill='none' {style}/>"

    parts = [
        *(
            _tick(x(at * curves.epoch_length), y(0), f"{at:g}", across=False)
            for at in _ticks((last + 1) / curves.epoch_length)
        ),
        *(_tick(x(0), y(at), f"{at:.3g}", across=True) for at in _ticks(top)),
    ]
    if curves.old is not None:
        parts.append(line(curves.old, "stroke='#bbb' stroke-width='6'"))
    parts.append(line(curves.new, "stroke='#1565c0' stroke-width='1.5'"))
    deviation = curves.deviation
    said = (
        "MMCV's schedule is not known here"
        if deviation is None
        else f"largest relative difference {deviation:.1e}"
    )
    unit = "iterations"
    if curves.epoch_length > 1:
        unit = "epochs"
        said += (
            f"; drawn with {curves.epoch_length:,} iterations in an epoch, which only the data set tells, so a warm-up "
            "by iterations may look longer or shorter than it is"
        )
    return (
        f"<p>Learning rate over {unit}: MMCV 1.x grey, migrated blue; {said}.</p>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}'>{''.join(parts)}</svg>"
    )


def _ticks(end: float) -> list[float]:
    """Return round numbers from 0 to ``end``, in at least five steps.

    >>> _ticks(12), _ticks(0.01)
    ([0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 12.0], [0.0, 0.002, 0.004, 0.006, 0.008, 0.01])
    """
    power = 10.0 ** math.floor(math.log10(end / 5))
    step = max(s * power for s in (1, 2, 5) if s * power <= end / 5 * (1 + 1e-9))
    return [float(f"{step * k:.6g}") for k in range(int(end / step * (1 + 1e-9)) + 1)]


def _tick(x: float, y: float, text: str, *, across: bool) -> str:
    """Return a mark of an axis with its number; ``across`` for the vertical axis."""
    dx, dy = (5, 0) if across else (0, 5)
    place = (
        f"x='{x - 7:.1f}' y='{y + 3:.1f}' text-anchor='end'"
        if across
        else f"x='{x:.1f}' y='{y + 16:.1f}' text-anchor='middle'"
    )
    return f"<path d='M{x:.1f} {y:.1f} l{-dx} {dy}' stroke='#666'/><text {place} font-size='10'>{text}</text>"
