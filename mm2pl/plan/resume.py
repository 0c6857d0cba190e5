"""What the config key ``resume`` asks for."""

from __future__ import annotations

from dataclasses import dataclass

MUST = "must"


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Whether a run continues from a checkpoint.

    Attributes:
        wanted: Continue from ``load_from``, or from the newest checkpoint of the work folder if there is one.
        required: Refuse to start where there is none.
    """

    wanted: bool = False
    required: bool = False


def resume_of(value: object) -> Resume:
    """Return what a value of ``resume`` means.

    Raises:
        ValueError: It is neither a truth value nor ``'must'``.

    >>> resume_of("must")
    Resume(wanted=True, required=True)
    """
    if value is None or (isinstance(value, bool | int) and value in (False, True)):
        return Resume(wanted=bool(value))
    if value == MUST:
        return Resume(wanted=True, required=True)
    # MMEngine 0.10.7 takes any text for True, and continues from another file than the one that was named.
    raise ValueError(
        f"resume={value!r} → True, False or {MUST!r} is needed; a certain file is continued by resume=True with "
        "load_from=PATH, or by --resume PATH"
    )
