"""The report of a migration as one HTML page: old and new side by side, and both learning rates."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from html import escape

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
    old = file.source.read_text() if file.source.exists() else ""
    parts.append(_side_by_side(old, file.text))
    return "\n".join(parts)


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

    def points(values: list[float]) -> str:
        return " ".join(
            f"{_MARGIN + i / last * (_WIDTH - 2 * _MARGIN):.1f},"
            f"{_HEIGHT - _MARGIN / 2 - v / top * (_HEIGHT - _MARGIN):.1f}"
            for i, v in zip(curves.iters, values, strict=True)
        )

    lines = []
    if curves.old is not None:
        lines.append(
            f"<polyline points='{points(curves.old)}' fill='none' stroke='#bbb' stroke-width='6'/>"
        )
    lines.append(
        f"<polyline points='{points(curves.new)}' fill='none' stroke='#1565c0' stroke-width='1.5'/>"
    )
    deviation = curves.deviation
    said = (
        "MMCV's schedule is not known here"
        if deviation is None
        else (f"largest relative difference {deviation:.1e}")
    )
    epochs = (
        f", {curves.epoch_length} iterations per epoch assumed" if curves.epoch_length > 1 else ""
    )
    return (
        f"<p>Learning rate: MMCV 1.x grey, migrated blue; {said}{epochs}.</p>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' width='{_WIDTH}' height='{_HEIGHT}'>"
        f"<text x='4' y='{_MARGIN / 2}' font-size='11'>{top:.3g}</text>"
        f"<text x='{_WIDTH - _MARGIN}' y='{_HEIGHT - 6}' font-size='11' text-anchor='end'>"
        f"{last + 1} iterations</text>{''.join(lines)}</svg>"
    )
