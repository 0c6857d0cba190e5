"""What the config key ``resume`` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from mm2pl.errors import ArgumentError

MUST = "must"


@dataclass(frozen=True)
class Choice:
    """Which parts of a run go on from a checkpoint.

    Attributes:
        resume_optimizer: ``False``: the optimizer begins anew, as in MMEngine.
        resume_param_scheduler: ``True``: the schedules and their plan are those of the checkpoint. ``False``: they
            begin anew from the config, as in MMEngine. ``"replan"``: the plan is the config's, learning rate included,
            and the progress the checkpoint's.

    Raises:
        ValueError: An attribute is none of these.
    """

    resume_optimizer: bool = True
    resume_param_scheduler: bool | str = True

    def __post_init__(self) -> None:
        for name, accepted in (
            ("resume_optimizer", (True, False)),
            ("resume_param_scheduler", (True, False, "replan")),
        ):
            value = getattr(self, name)
            if value not in accepted:
                some = ", ".join(map(repr, accepted))
                raise ArgumentError(f"{name}={value!r} → one of {some} is needed")

    def arguments(self) -> dict[str, Any]:
        """Return what differs from the defaults, as arguments of ``Runner.resume``: an override may have fewer."""
        return {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if getattr(self, f.name) != f.default
        }

    @property
    def replans(self) -> bool:
        """Return whether the plan is the config's and the progress the checkpoint's."""
        return self.resume_param_scheduler == "replan"


_PARTS = tuple(part.name for part in fields(Choice))


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Whether a run continues from a checkpoint.

    Attributes:
        wanted: Continue from ``load_from``, or from the newest checkpoint of the work folder if there is one.
        required: Refuse to start where there is none.
        filename: The checkpoint, in place of ``load_from``.
        choice: Which parts go on.
    """

    wanted: bool = False
    required: bool = False
    filename: str | None = None
    choice: Choice = field(default_factory=Choice)


def resume_of(value: object) -> Resume:
    """Return what a value of ``resume`` means.

    Raises:
        ValueError: It is neither a truth value nor ``'must'``, nor a dict of ``filename``, ``must`` and the arguments
            of ``Runner.resume``.

    >>> resume_of("must").required, resume_of({"resume_optimizer": False}).choice.resume_optimizer
    (True, False)
    """
    if value is None or (isinstance(value, bool | int) and value in (False, True)):
        return Resume(wanted=bool(value))
    if value == MUST:
        return Resume(wanted=True, required=True)
    if isinstance(value, Mapping) and value:
        accepted = ("filename", MUST, *_PARTS)
        if unknown := [key for key in value if key not in accepted]:
            raise ArgumentError(f"resume has {', '.join(unknown)} → it takes {', '.join(accepted)}")
        return Resume(
            wanted=True,
            required=bool(value.get(MUST)),
            filename=value.get("filename"),
            choice=Choice(**{name: value[name] for name in _PARTS if name in value}),
        )
    # MMEngine 0.10.7 takes any text for True, and continues from another file than the one that was named.
    raise ArgumentError(
        f"resume={value!r} → True, False or {MUST!r} is needed; a certain file is continued by resume=True with "
        "load_from=PATH, or by --resume PATH"
    )


def resume_accepts(value: object) -> bool:
    """Return whether :func:`resume_of` takes a value.

    >>> resume_accepts("must"), resume_accepts("auto")
    (True, False)
    """
    try:
        filename = resume_of(value).filename
    except (TypeError, ValueError):
        return False
    return filename is None or isinstance(filename, str) or hasattr(filename, "__fspath__")


def with_parts(value: object, parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value of ``resume`` with a choice of parts added.

    >>> with_parts("must", {"resume_optimizer": False})
    {'must': True, 'resume_optimizer': False}
    """
    known = dict(value) if isinstance(value, Mapping) else {MUST: True} if value == MUST else {}
    return {**known, **parts}
