"""Rows of an explained config."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.plan.explain import Entry, explain


def problems(config: Mapping[str, Any]) -> list[Entry]:
    """Return the rows that a user must hear about before a run."""
    return [row for row in explain(config) if row.status in ("warning", "error")]
