"""Tables for a terminal: plain text, and in colours where rich is installed."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from itertools import pairwise
from typing import Any


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
        spare: Heads of the columns that a narrow terminal does without, in this order.
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)
    note: str = ""
    right: Sequence[int] = ()
    colors: Mapping[str, str] = field(default_factory=dict)
    spare: Sequence[str] = ()

    @property
    def widths(self) -> list[int]:
        """The width of each column."""
        return [max(map(len, column)) for column in zip(self.heads, *self.rows, strict=True)]

    def within(self, width: int) -> Table:
        """Return the table without the spare columns that this width has no room for.

        >>> table = Table(heads=["run", "loss", "it/s"], rows=[["a", "0.25", "10"]], spare=["it/s", "loss"])
        >>> print(plain([table.within(10)]))
        run  loss
        a    0.25
        no room for: it/s
        """
        left_out: list[str] = []
        kept = list(range(len(self.heads)))
        for head in self.spare:
            if sum(self.widths[i] + 2 for i in kept) - 2 <= width:
                break
            if head in self.heads:
                left_out.append(head)
                kept = [i for i in kept if self.heads[i] != head]
        if not left_out:
            return self
        note = f"no room for: {', '.join(left_out)}"
        return replace(
            self,
            heads=[self.heads[i] for i in kept],
            rows=[[row[i] for i in kept] for row in self.rows],
            right=[place for place, i in enumerate(kept) if i in self.right],
            note=f"{self.note}\n{note}".lstrip(),
        )


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
        widths = table.widths
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
    """Print tables: for a terminal as wide as that, and in colours if rich is installed."""
    if not sys.stdout.isatty():
        print(plain(tables))
        return
    fitting = [each.within(shutil.get_terminal_size().columns) for each in tables]
    if find_spec("rich"):
        _show_colored(fitting)
    else:
        print(plain(fitting))


def _show_colored(tables: Sequence[Table]) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    console = Console()
    for place, table in enumerate(tables):
        if place:
            console.print()
        if table.title:
            console.print(Text(table.title, style="bold"))
        indent = 2 if table.title else 0
        # A row of rich's has cells alone: behind one with notes, another table of the same widths begins.
        ends = [i + 1 for i, notes in sorted(table.notes.items()) if notes]
        bounds = dict.fromkeys([0, *ends, len(table.rows)])
        for begin, end in pairwise(bounds):
            console.print(Padding(_colored(table, begin, end), (0, 0, 0, indent)))
            for text in table.notes.get(end - 1, ()):
                console.print(Padding(Text(text), (0, 0, 0, indent + 4)))
        if table.note:
            console.print(Padding(Text(table.note), (0, 0, 0, indent)))


def _colored(table: Table, begin: int, end: int) -> Any:
    from rich.table import Table as RichTable
    from rich.text import Text

    headed, is_part = any(table.heads) and begin == 0, end - begin < len(table.rows)
    made = RichTable(box=None, pad_edge=False, header_style="bold", show_header=headed)
    for i, (head, width) in enumerate(zip(table.heads, table.widths, strict=True)):
        made.add_column(
            Text(head),
            overflow="fold",
            justify="right" if i in table.right else "left",
            width=width if is_part else None,
        )
    for row in table.rows[begin:end]:
        # Text, not a string: rich reads [0] in a name as markup.
        made.add_row(*(Text(cell, style=table.colors.get(cell, "")) for cell in row))
    return made
