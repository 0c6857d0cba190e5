"""Every way to continue a run gives what the run gives that was never stopped, to the last bit.

By default a pairwise cover with one process; ``-m matrix`` runs it with two.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.continuing.cover import AXES, ONE_PROCESS, TWO_PROCESSES, Cell, cells, pairs_of
from tests.continuing.judge import Server, Wholes, difference
from tests.continuing.table import table

CELLS = [pytest.param(cell, marks=pytest.mark.slow, id=str(cell)) for cell in ONE_PROCESS]
CELLS += [pytest.param(cell, marks=pytest.mark.matrix, id=str(cell)) for cell in TWO_PROCESSES]


def test_every_two_values_meet_that_can() -> None:
    possible = set().union(*map(pairs_of, cells(AXES)))
    assert possible == set().union(*map(pairs_of, [*ONE_PROCESS, *TWO_PROCESSES]))


@pytest.mark.parametrize("cell", CELLS)
def test_a_run_goes_on_as_if_never_stopped(
    cell: Cell, server: Server, wholes: Wholes, tmp_path: Path, results: dict[Cell, str | None]
) -> None:
    results[cell] = difference(cell, server, wholes, tmp_path)
    assert results[cell] is None


def test_a_table_of_the_cells(results: dict[Cell, str | None]) -> None:
    """Printed by ``-rP``."""
    lines = table(results)
    print(lines)
    assert lines.endswith(f"| {len(results)} | {list(results.values()).count(None)} |")
