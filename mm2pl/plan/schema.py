"""What is wrong with a config, before anything of it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mm2pl.config.errors import Site
from mm2pl.plan.explain import explain


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that a config says and no run does.

    Attributes:
        path: Dotted path of the key, ``param_scheduler.0.end``.
        given: The value, shortened; empty if it is missing.
        accepted: What the key takes.
        advice: What to do.
        severity: ``error`` if MMEngine rejects it, ``warning`` if it ignores it without a word, ``note`` if that may
            well be meant.
        origin: The line that sets the value, if a file is known.
    """

    path: str
    given: str
    accepted: str = ""
    advice: str = ""
    severity: Literal["error", "warning", "note"] = "error"
    origin: Site | None = None

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        given = f"{self.path}={self.given}" if self.given else self.path
        parts = (self.accepted, self.advice)
        return f"{where}{given} → {'; '.join(part for part in parts if part)}"


def faults_of(config: Mapping[str, Any]) -> list[Fault]:
    """Return what is wrong with a config.

    Args:
        config: A :class:`~mm2pl.config.Config`, whose files then tell where a value is set, or its keys.
    """
    return [
        Fault(path=row.key, given=row.value, advice=row.note, severity=row.status)
        for row in explain(dict(config.items()))
        if row.status == "error" or row.status == "warning"
    ]
