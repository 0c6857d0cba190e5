"""One server of processes for all cells, and what became of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.continuing.cover import Cell
from tests.continuing.judge import Server, Wholes


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture(scope="session")
def wholes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Wholes:
    return Wholes(server, tmp_path_factory.mktemp("wholes"))


@pytest.fixture(scope="session")
def results() -> dict[Cell, str | None]:
    """Return what differs in each cell that has run; ``None`` for nothing."""
    return {}
