"""Numbers as people read them; the module has the name that toolboxes import it by."""

from __future__ import annotations

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
        if abs(x) > above:
            return f"{x / divisor:.{sig_figs}f}".rstrip("0").rstrip(".") + unit
    return str(x)
