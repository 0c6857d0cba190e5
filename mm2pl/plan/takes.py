"""What a class or a function takes, as far as the arguments in a config can be compared with it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mm2pl.plan.annotations import allowed, hints_of, kind_of
from mm2pl.registry.errors import accepted_arguments

_PACKAGE = __name__.partition(".")[0]
_METHODS = (
    *("add_scalars", "full_init", "get_last_lr", "get_last_value", "logger"),
    *("train_step", "training_step"),
)


@dataclass(frozen=True, kw_only=True)
class Takes:
    """What is known of a class or a function without calling it.

    Attributes:
        name: Its own.
        ours: Whether it is mm2pl's.
        names: Its parameters, without ``**kwargs``.
        accepted: What it takes by name; None: any name, or it does not say.
        required: Parameters without a default.
        kinds: Parameter → the kinds of its values, where the annotation says them.
        booleans: Parameters that are annotated as ``bool``.
        unset: Parameters whose default is None.
        methods: Those of its methods and properties by which it is known what it is.
        logger: Of a visualizer's backend: the class of Lightning's that it writes through.
    """

    name: str
    ours: bool = False
    names: tuple[str, ...] = ()
    accepted: tuple[str, ...] | None = None
    required: tuple[str, ...] = ()
    kinds: Mapping[str, tuple[str, ...]]
    booleans: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    logger: str = ""

    def refuses(self, argument: str, value: object) -> bool:
        """Return whether no value like this one is meant by the annotation of an argument."""
        kind, kinds = kind_of(value), self.kinds.get(argument)
        if kind is None or kinds is None or (value is None and argument in self.unset):
            return False
        return kind not in kinds


def taken_by(factory: Any) -> Takes:
    """Return what a class or a function takes."""
    methods = tuple(name for name in _METHODS if hasattr(factory, name))
    name = getattr(factory, "__name__", repr(factory))
    # That of a class method of `dict` is None.
    ours = str(getattr(factory, "__module__", "")).partition(".")[0] == _PACKAGE
    logger = str(getattr(factory, "lightning_logger", ""))
    try:
        parameters, hints = inspect.signature(factory).parameters, hints_of(factory)
        accepted = accepted_arguments(factory)
    # Some classes that are written in C do not tell their signature; that of a user's may fail in any way.
    except Exception:
        return Takes(name=name, ours=ours, kinds={}, methods=methods, logger=logger)
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    kinds = {n: _kinds(hints[n]) for n in parameters if n in hints}
    return Takes(
        name=name,
        ours=ours,
        names=tuple(n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD),
        accepted=None if accepted is None else tuple(accepted),
        required=tuple(
            n for n, p in parameters.items() if p.default is p.empty and p.kind in by_name
        ),
        kinds={n: tuple(known) for n, known in kinds.items() if known is not None},
        booleans=tuple(n for n, known in kinds.items() if known and hints[n] in (bool, "bool")),
        unset=tuple(n for n, p in parameters.items() if p.default is None),
        methods=methods,
        logger=logger,
    )


def _kinds(hint: Any) -> list[str] | None:
    try:
        return allowed(hint)
    # An annotation may be any object, and one that cannot be compared says nothing.
    except Exception:
        return None
