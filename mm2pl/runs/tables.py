"""Tables for a terminal: plain text, and in colours where rich is installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under heads.

    Attributes:
        heads: The names of the columns; a table may have none, each then an empty text.
        rows: The cells of each row.
        title: What stands above it; its rows are then indented.
        notes: Place of a row → lines below it.
        note: Lines below the table, or in its place where it has no rows.
        right: Places of the columns that are aligned to the right: numbers.
        colors: What a cell says → its colour, as rich names it.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    note: str = ""
    right: Sequence[int] = ()
    colors: Mapping[str, str] = field(default_factory=dict)


def plain(tables: Iterable[Table]) -> str:
    """Return tables as text, with an empty line between them.

    >>> rows = [["a", "0.25"], ["b", "4"]]
    >>> print(plain([Table(heads=["run", "loss"], rows=rows, right=[1], notes={0: ["was killed"]})]))
    run  loss
    a    0.25
        was killed
    b       4
    """
    return "\n\n".join("\n".join(_lines(table)) for table in tables)


def _lines(table: Table) -> list[str]:
    lines = [table.title] if table.title else []
    indent = "  " if table.title else ""
    if table.rows:
        columns = list(zip(table.heads, *table.rows, strict=True))
        widths = [max(map(len, column)) for column in columns]
        heads = [table.heads] if any(table.heads) else []
        for place, row in enumerate([*heads, *table.rows], start=-len(heads)):
            cells = (
                cell.rjust(width) if i in table.right else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            )
            lines.append(f"{indent}{'  '.join(cells)}".rstrip())
            lines += [f"{indent}    {text}" for text in table.notes.get(place, ())]
    return [*lines, *(f"{indent}{line}" for line in table.note.splitlines())]


def show(tables: Sequence[Table]) -> None:
    """Print tables: in colours and as wide as the terminal if standard output is one and rich is installed."""
    if sys.stdout.isatty() and find_spec("rich"):
        _show_colored(tables)
    else:
        print(plain(tables))


def _show_colored(tables: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console()
    for place, table in enumerate(tables):
        if place:
            console.print()
        if table.title:
            console.print(Text(table.title, style="bold"))
        indent = (0, 0, 0, 2 if table.title else 0)
        made = RichTable(
            box=None, pad_edge=False, header_style="bold", show_header=any(table.heads)
        )
        for i, head in enumerate(table.heads):
            made.add_column(
                Text(head), overflow="fold", justify="right" if i in table.right else "left"
            )
        for i, row in enumerate(table.rows):
            # Text, not a string: rich reads [0] in a name as markup.
            first = Text("\n  ".join([row[0], *table.notes.get(i, ())]))
            others = [Text(cell, style=table.colors.get(cell, "")) for cell in row[1:]]
            made.add_row(first, *others)
        if table.rows:
            console.print(Padding(made, indent))
        if table.note:
            console.print(Padding(Text(table.note), indent))
