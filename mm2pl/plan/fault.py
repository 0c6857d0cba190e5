"""One thing that is wrong with a config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mm2pl.config.errors import Site
from mm2pl.errors import ArgumentError

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One word of a config that a run does not follow.

    Attributes:
        path: Dotted path of the key, ``param_scheduler.0.end``.
        given: The value, shortened; empty if the key is missing.
        accepted: What the key takes.
        why: What is wrong, as a sentence.
        advice: What is wrong, or what to do.
        severity: ``error`` if MMEngine rejects it, ``warning`` if it ignores it without a word, ``note`` if that may
            well be meant.
        origin: The line that sets the value, or the word of the command line that does, where it is known.
    """

    path: str
    given: str = ""
    accepted: str = ""
    why: str = ""
    advice: str = ""
    severity: Severity = "error"
    origin: Site | str | None = None

    @property
    def reason(self) -> str:
        """What is accepted, what is wrong, and what to do."""
        needed = f"{self.accepted} is needed" if self.accepted else ""
        first, *rest = [part for part in (needed, self.why, self.advice) if part] or [""]
        return first + "".join(f"{'.' if part[0].isupper() else ';'} {part}" for part in rest)

    def __str__(self) -> str:
        where = f"{self.origin}: " if self.origin else ""
        return f"{where}{self.path}{f'={self.given}' if self.given else ''} → {self.reason}"


class FaultyConfigError(ArgumentError):
    """Say all that is wrong with a config at once.

    Args:
        faults: At least one.
    """

    def __init__(self, faults: Sequence[Fault]) -> None:
        lines = "".join(f"\n  {fault}" for fault in faults)
        super().__init__(f"the config has keys that will not do what they say:{lines}")
        self.faults = tuple(faults)


def short(value: object) -> str:
    """Return a value on one line of a table.

    >>> short({"a": 1}), len(short("x" * 100))
    ("{'a': 1}", 48)
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 48 else f"{text[:45]}..."
