"""Numbers as people read them, and tables of them."""

from __future__ import annotations

from collections.abc import Sequence

UNITS = ((1e14, 1e15, "P"), (1e11, 1e12, "T"), (1e8, 1e9, "G"), (1e5, 1e6, "M"), (1e2, 1e3, "K"))
"""Above which number, divided by what, with which letter."""


def _format_size(x: int, sig_figs: int = 3, hide_zero: bool = False) -> str:
    """Return a count with a unit.

    Example:
        >>> _format_size(25_557_032), _format_size(101), _format_size(7), _format_size(0, hide_zero=True)
        ('25.557M', '0.101K', '7', '')
    """
    if hide_zero and x == 0:
        return ""
    for above, divisor, unit in UNITS:
        # fvcore's bounds, which MMEngine took over: 101 is "0.101K", but 100 is "100".
        if abs(x) > above:
            return f"{x / divisor:.{sig_figs}f}".rstrip("0").rstrip(".") + unit
    return str(x)


def draw_table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows in columns, the first one being the head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "-+-".join("-" * width for width in widths), *lines[1:]])
