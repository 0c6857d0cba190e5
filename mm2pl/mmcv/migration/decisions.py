"""What a migration concludes from what it sees: how sure it is, and how to decide otherwise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mm2pl.errors import ArgumentError

NONE = "none"


class Sure(str, Enum):
    """How sure a conclusion is."""

    CERTAIN = "certain"
    LIKELY = "likely"
    UNSURE = "unsure: the project's own part is kept"
    TOLD = "as you said"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One conclusion of a migration.

    Args:
        about: What is decided, such as ``"toolbox"``.
        seen: What was seen in the old config.
        concluded: What the new config has for it.
        sure: How sure that is.
        otherwise: How to decide otherwise.
    """

    about: str
    seen: str
    concluded: str
    sure: Sure
    otherwise: str

    def __str__(self) -> str:
        return f"{self.about}: {self.seen} → {self.concluded} [{self.sure.value}]; otherwise: {self.otherwise}"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What the user decides; None leaves it to the migration.

    Args:
        toolbox: Whose transforms and data sets the config names, such as ``"mmdet"``; ``"none"``: the project's own.
        scope: The ``default_scope`` to write, of a toolbox or a project of one's own; ``"none"`` writes none. A known
            toolbox is the ``toolbox`` too, and ``"none"`` as well, unless that is given.
        evaluator: ``"toolbox"``: its metrics; ``"own"``: the data set's own ``evaluate``.
        collate: ``"mmcv"``: MMCV 1.x', which knows DataContainers; ``"default"``: the one of the run.
        folder: The toolbox of most files of the folder; it counts for files that have no data, such as schedules.

    Raises:
        ArgumentError: A choice is none of those.
    """

    toolbox: str | None = None
    scope: str | None = None
    evaluator: str | None = None
    collate: str | None = None
    folder: str | None = None

    def __post_init__(self) -> None:
        for name, accepted in (("evaluator", ("toolbox", "own")), ("collate", ("mmcv", "default"))):
            value = getattr(self, name)
            if value not in (None, *accepted):
                raise ArgumentError(f"{name}={value!r} → one of {', '.join(accepted)}.")


AS_SEEN = Choices()
"""Everything is left to the migration."""
