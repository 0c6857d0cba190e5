"""A comparison of runs as one HTML page that needs no other file."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path

from mm2pl.runs.compare import MISSING, Comparison, Section
from mm2pl.runs.curves import Curve, as_text

_STYLE = """
:root { color-scheme: light dark }
body { font: 14px/1.45 system-ui, sans-serif; margin: 2em; max-width: 110em }
h2 { border-bottom: 1px solid #8888; font-size: 1.1em; margin-top: 2em }
table { border-collapse: collapse } pre { overflow-x: auto }
td, th { border: 1px solid #8888; padding: 2px 8px; text-align: left; vertical-align: top }
td:first-child { font-family: monospace } .none { opacity: .5 }
svg { max-width: 100%; height: auto } .dark { display: none }
@media (prefers-color-scheme: dark) {
  body { background: #111; color: #ddd } .dark { display: block } .light { display: none }
}
"""


def page(comparison: Comparison, curves: Sequence[Curve], axis: str) -> str:
    """Return the page: curves, as a picture where matplotlib is installed, and the tables.

    Args:
        comparison: What was compared.
        curves: What the runs have logged; none are left out.
        axis: What they are drawn over.
    """
    title = escape(" · ".join(comparison.names))
    body = "".join(_section(section, comparison.names) for section in comparison.sections)
    drawn = f"<h2>curves</h2>{_curves(curves, axis)}" if curves else ""
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{title}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{title}</h1>{body}{drawn}</body></html>\n"
    )


def _section(section: Section, names: Sequence[str]) -> str:
    head = f"<h2>{escape(section.title)}</h2>"
    note = f"<p>{escape(section.note_shown)}</p>" if section.note_shown else ""
    if not section.rows:
        return f"{head}{note}"
    heads = "".join(f"<th>{escape(name)}</th>" for name in ("", *names))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(map(_cell, values))}</tr>"
        for name, values in section.rows
    )
    return f"{head}{note}<table><tr>{heads}</tr>{rows}</table>"


def _cell(value: str) -> str:
    return f"<td{' class=none' if value == MISSING else ''}>{escape(value)}</td>"


def _curves(curves: Sequence[Curve], axis: str) -> str:
    if find_spec("matplotlib") is None:
        return f"<pre>{escape(as_text(curves))}</pre>"
    # Only here, because it takes a while.
    from mm2pl.runs.picture import draw

    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for name, dark in (("light", False), ("dark", True)):
            path = Path(folder, f"{name}.svg")
            draw(curves, path, axis=axis, dark=dark)
            # Without the declaration of XML, which HTML does not know.
            svg = re.sub(r"^.*?(?=<svg)", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
            parts.append(f"<div class='{name}'>{svg}</div>")
    return "".join(parts)
