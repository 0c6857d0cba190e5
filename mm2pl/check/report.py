"""What a check has found, as text and as plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mm2pl.plan.schema import Fault

_WORDS = {"error": "ERROR", "warning": "WARNING", "note": "note"}


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a check has found.

    Attributes:
        name: What was checked: the file of a config, or a run's name.
        environment: Versions, devices, the folder.
        rows: What the run will be.
        faults: What is wrong; those of severity ``note`` may well be meant.
    """

    name: str
    environment: dict[str, str] = field(default_factory=dict)
    rows: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    def is_sound(self, strict: bool = False) -> bool:
        """Return whether nothing is wrong; ``strict`` counts notes too."""
        return not any(strict or fault.severity != "note" for fault in self.faults)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as what JSON can hold."""
        return {
            "name": self.name,
            "sound": self.is_sound(),
            "environment": self.environment,
            "run": [{"what": what, "value": value} for what, value in self.rows],
            "faults": [
                {
                    "path": fault.path,
                    "given": fault.given,
                    "accepted": fault.accepted,
                    "why": fault.why,
                    "advice": fault.advice,
                    "severity": fault.severity,
                    "origin": str(fault.origin) if fault.origin else None,
                }
                for fault in self.faults
            ],
        }

    def __str__(self) -> str:
        rows = [*self.environment.items(), *self.rows]
        width = max((len(what) for what, _ in rows), default=0)
        lines = [f"  {what:<{width}}  {value}" for what, value in rows]
        found = [f"  {_WORDS[fault.severity]}: {fault}" for fault in self.faults]
        wrong = sum(fault.severity != "note" for fault in self.faults)
        verdict = f"{wrong} {'fault' if wrong == 1 else 'faults'}" if wrong else "sound"
        return "\n".join([self.name, *lines, *found, verdict])
