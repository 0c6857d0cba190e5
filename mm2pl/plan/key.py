"""What is known of one key of a config."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mm2pl.plan.values import Values

Section = Literal["model", "data", "run", "option"]
Fidelity = Literal["exact", "equivalent", "ignored"]
Doubt = tuple[Values, str]


@dataclass(frozen=True)
class Key:
    """One key, at the top of a config or inside another.

    Attributes:
        values: What it takes.
        meaning: What it says of a run.
        target: What it becomes in Lightning's words; empty: nothing of Lightning's.
        default: What holds where it is missing; None: nothing.
        unit: What a number counts.
        section: Of a top-level key: ``model`` and ``data`` are arguments of the LightningModule and the DataModule,
            ``run`` of the :class:`~mm2pl.lightning.RunCallback`, ``option`` an entry of its ``options``.
        fidelity: ``exact`` to the last bit, ``equivalent``, or ``ignored`` for the reason in ``note``.
        note: What a user should know.
        reader: The class or function that reads it; inside another key, empty for that key's reader.
        advice: What to do about another value.
        lax: MMEngine takes any other value too, by its truth, so that one is warned about and not refused.
        doubts: Accepted values that hardly do what their author expects, each with the reason.
        inside: What is known inside it.
        registry: The registry in which its ``type`` is looked up.
        kind: The ``type`` of a dict without one.
        supplied: Arguments that come from the run and not from the config.
        taken: Entries next to ``type`` that are not arguments of the class.
        governed: The neighbour that reads it; where that is not its default, anything may be inside.
    """

    values: Values
    meaning: str
    target: str = ""
    default: Any = None
    unit: str = ""
    section: Section = "run"
    fidelity: Fidelity = "exact"
    note: str = ""
    reader: str = ""
    advice: str = ""
    lax: bool = False
    doubts: tuple[Doubt, ...] = ()
    inside: Inside | None = None
    registry: str = ""
    kind: str = ""
    supplied: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    governed: str = ""


@dataclass(frozen=True, kw_only=True)
class Inside:
    """What is known inside one key.

    Attributes:
        keys: The known names.
        types: Types whose arguments these are; another type takes arguments of its own.
        required: Names that must be there, unless another type is given.
        moved: Names that MMEngine ignores here → where they belong.
        closed: Whether a name not listed is refused or ignored.
        unknown: What such a name is.
        item: What each value of a list (``custom_hooks``) or of a dict of dicts (``default_hooks``) must be.
        named: The key holds a dict of such dicts; these are the usual names.
        summary: One row per dict instead of one per key; ``{type}`` is its type.
        rest: What names of an open dict become.
    """

    keys: dict[str, Key] = field(default_factory=dict)
    types: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    moved: dict[str, str] = field(default_factory=dict)
    closed: bool = True
    unknown: Literal["warning", "error"] = "error"
    item: Values | None = None
    named: tuple[str, ...] = ()
    summary: str = ""
    rest: str = "argument of its type"
