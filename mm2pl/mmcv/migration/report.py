"""What became of each key of an MMCV 1.x config."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from mm2pl.mmcv.migration.decisions import Decision


class Status(str, Enum):
    """How well a key came over."""

    EXACT = "exact"
    NOTE = "with a note"
    NEEDS_YOU = "needs you"

    def counted(self, number: int) -> str:
        """Return how many keys have it, in words.

        >>> Status.NEEDS_YOU.counted(1), Status.NEEDS_YOU.counted(2)
        ('1 key needs you', '2 keys need you')
        """
        several = number != 1
        said = "need you" if several and self is Status.NEEDS_YOU else self.value
        return f"{number} key{'s' if several else ''} {said}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The fate of one key.

    Args:
        key: Dotted path in the old config, such as ``'data.train.img_prefix'``.
        status: How well it came over.
        target: Dotted path in the new config; empty if nothing stands for it.
        note: Why it is not exact, or what was decided.
        write: What to write into the new config by hand, as code; only for `Status.NEEDS_YOU`.
    """

    key: str
    status: Status
    target: str = ""
    note: str = ""
    write: str = ""

    @property
    def top_key(self) -> str:
        """The top-level key of the old config that the entry is about."""
        return re.split(r"[.\[]", self.key, maxsplit=1)[0]

    def __str__(self) -> str:
        arrow = f" → {self.target}" if self.target else ""
        note = f": {self.note}" if self.note else ""
        write = f"\n    write: {self.write}" if self.write else ""
        return f"{self.key}{arrow} [{self.status.value}]{note}{write}"


@dataclass(frozen=True)
class Report:
    """All entries of one migration, in the order of the old config's keys, and what it decided.

    Args:
        entries: The fate of each key.
        decisions: What was concluded where the config alone does not tell.
    """

    entries: tuple[Entry, ...]
    decisions: tuple[Decision, ...] = ()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def of(self, status: Status) -> list[Entry]:
        """Return the entries with that status."""
        return [entry for entry in self.entries if entry.status is status]

    def covers(self, key: str) -> bool:
        """Return whether there is an entry for the top-level ``key`` or something inside it."""
        return any(entry.top_key == key for entry in self.entries)

    def __str__(self) -> str:
        parts = []
        if self.decisions:
            parts.append(f"decided ({len(self.decisions)})")
            parts += [f"  {decision}" for decision in self.decisions]
        # What needs the user comes first.
        for status in reversed(Status):
            entries = self.of(status)
            if entries:
                parts.append(f"{status.value} ({len(entries)})")
                parts += [f"  {line}" for entry in entries for line in str(entry).splitlines()]
        return "\n".join(parts)
