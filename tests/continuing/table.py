"""How many cells ran and how many are equal, per value of each axis."""

from __future__ import annotations

from collections.abc import Mapping

from tests.continuing.cover import AXES, Cell


def table(results: Mapping[Cell, str | None]) -> str:
    """Return the table.

    Args:
        results: What differs in each cell; ``None`` for nothing.
    """
    lines = ["| axis | value | cells run | cells equal |", "| --- | --- | ---: | ---: |"]
    for axis, values in AXES.items():
        for value in values:
            found = [why for cell, why in results.items() if getattr(cell, axis) == value]
            if found:
                lines.append(f"| {axis} | {value} | {len(found)} | {found.count(None)} |")
    lines.append(f"| all | | {len(results)} | {list(results.values()).count(None)} |")
    return "\n".join(lines)
