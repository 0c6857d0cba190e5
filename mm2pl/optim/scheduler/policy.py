"""A scheduler class from a policy: one pure function, and a row of what MMEngine calls things."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable
from itertools import repeat
from operator import setitem
from typing import Any, ClassVar

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError
from mm2pl.optim.scheduler.base import INF, _ParamScheduler
from mm2pl.registry import PARAM_SCHEDULERS

_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_COMMON = dict(inspect.signature(_ParamScheduler.__init__).parameters)
_FIRST = [_COMMON.pop(name) for name in ("self", "optimizer", "param_name")]
_MEANINGS = dict(re.findall(r"^ {4}(\w+): (.*)$", inspect.getdoc(_ParamScheduler) or "", re.M))
"""What the arguments of every schedule mean."""


class PolicyScheduler(_ParamScheduler):
    """What the built-in schedulers add to MMEngine's base class; `policy_scheduler` makes them."""

    durations: ClassVar[tuple[str, ...]] = ()
    """Arguments that are a number of steps, or a list of them: scaled with the epoch's length."""
    chained: ClassVar[bool] = True
    """Whether a value depends on the one before."""
    _settings: ClassVar[Callable[..., dict[str, Any]]]
    _transition: ClassVar[Callable[..., list[float]]]
    _inputs: ClassVar[tuple[str, ...]]

    def _get_value(self) -> list[float]:
        values = [group[self.param_name] for group in self.optimizer.param_groups]
        return self._next(values, self.base_values)

    def _next(self, values: list[float], bases: list[float]) -> list[float]:
        # Read anew each time: a loaded state brings its own settings, and they win in MMEngine too.
        return type(self)._transition(self.last_step, values, bases, **self.settings)

    @property
    def settings(self) -> dict[str, Any]:
        """What the policy is called with, apart from the step and the values."""
        return {key: getattr(self, key) for key in self._inputs}

    def _update(self, values: list[Any]) -> list[Any]:
        # A user's subclass computes its own values.
        if type(self)._get_value is not PolicyScheduler._get_value:
            return super()._update(values)
        groups, name, bases = self.optimizer.param_groups, self.param_name, self.base_values
        one = values[:1]
        updated = self._next(one, bases[:1])
        if updated is one:
            # No policy looks at the values to see whether it acts.
            return values
        if _is_one_number(values, len(values)) and _is_one_number(bases, len(values)):
            # Hundreds of groups mostly share one value, which has been computed by now.
            for group in groups:
                group[name] = updated[0]
            return updated * len(values)
        updated = self._next(values, bases)
        # A deque of length 0 runs an iterator without a Python loop.
        deque(map(setitem, groups, repeat(name), updated), maxlen=0)
        # A group that was added to the optimizer later has no base value, and some policies pass over it.
        return updated + values[len(updated) :]

    @classmethod
    def build_iter_from_epoch(
        cls,
        *args: Any,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Build a scheduler by iteration from arguments in epochs.

        ``begin``, ``end`` and the policy's durations are multiplied by ``epoch_length`` (iterations
        per epoch); nothing else is: `ExponentialLR` keeps its gamma, as in MMEngine 0.10.7.

        Raises:
            ArgumentError: ``by_epoch`` is false, or ``epoch_length`` is not positive.
            TypeError: A duration is given by position.
        """
        kwargs |= span_in_iterations(begin, end, by_epoch, epoch_length)
        by_position = inspect.signature(cls).bind_partial(*args).arguments
        for name in cls.durations:
            if name in by_position:
                raise ArgumentError(
                    f"{cls.__name__}.build_iter_from_epoch: give {name}=... by name."
                )
            if kwargs.get(name) is not None:
                # `T_max=None` and `total_steps=None` follow the span, which is scaled already.
                kwargs[name] = _scaled(kwargs[name], epoch_length)
        return cls(*args, **kwargs)


def _is_one_number(values: list[Any], count: int) -> bool:
    """Return whether ``values`` are ``count`` times one Python float."""
    # The sum is one only if all are plain numbers: a tensor may be changed in place, NumPy's numbers round in their own
    # way. A comparison of lists ends at the first difference.
    if not values or type(values[0]) is not float or type(sum(values)) is not float:
        return False
    return values[:1] * count == values


def is_pure(scheduler: object) -> bool:
    """Return whether a step of a schedule is only its policy; a user's subclass may do more."""
    # Of the class itself: subclasses do not inherit it.
    return bool(vars(type(scheduler)).get("built_in"))


def span_in_iterations(
    begin: float, end: float, by_epoch: bool, epoch_length: int | None
) -> dict[str, Any]:
    """Return ``begin``, ``end`` and ``by_epoch`` of a schedule by iteration, from those in epochs.

    Raises:
        ArgumentError: ``by_epoch`` is false, or ``epoch_length`` is not positive.
    """
    if not by_epoch:
        raise ArgumentError("by_epoch=False is by iteration already: leave it out here.")
    if epoch_length is None or epoch_length <= 0:
        raise ArgumentError(f"epoch_length={epoch_length!r} must be a positive integer.")
    # MMEngine's "for ever" is a number of steps; multiplied it would be another one.
    end = end if end == INF else int(end * epoch_length)
    return {"begin": int(begin * epoch_length), "end": end, "by_epoch": False}


def _scaled(duration: Any, factor: Any) -> Any:
    if isinstance(duration, list | tuple):
        return [part * factor for part in duration]
    return duration * factor


def policy_scheduler(
    name: str,
    transition: Callable[..., list[float]],
    settings: Callable[..., dict[str, Any]] = lambda span, **own: {},
    *,
    durations: tuple[str, ...] = (),
    order: tuple[str, ...] = (),
) -> Any:
    """Make and register the scheduler class of a policy.

    Args:
        name: Its name, in the module of ``transition``.
        transition: ``(t, values, bases, <derived>, *, <own>) -> values``: from the step, the values
            now and those before any scheduler, one per param group, to the new values. ``<own>``
            are the arguments of the policy, with their defaults; they become attributes.
        settings: ``(span, **own)``: checks the arguments for a schedule of so many steps, and
            returns the attributes that are ``<derived>`` or differ from the argument.
        durations: See `PolicyScheduler`.
        order: The order of the arguments after ``param_name``, where MMEngine's is not the usual
            one: ``<own>``, ``begin``, ``end``, ``last_step``, ``by_epoch``, ``verbose``.
    """
    inputs = list(inspect.signature(transition).parameters.values())[3:]
    own = {p.name: p.replace(kind=_KEYWORD) for p in inputs if p.kind is p.KEYWORD_ONLY}
    available = {**own, **_COMMON}

    def init(self: PolicyScheduler, bound: inspect.BoundArguments) -> None:
        given = dict(bound.arguments)
        del given["self"]
        attributes = {key: given.pop(key) for key in own}
        attributes |= cls._settings(given["end"] - given["begin"], **attributes)
        # Before `super().__init__`, whose first `step` needs them.
        vars(self).update(attributes)
        super(cls, self).__init__(**given)

    body = {
        "built_in": True,
        "_settings": staticmethod(settings),
        "_transition": staticmethod(transition),
        "_inputs": tuple(parameter.name for parameter in inputs),
        "durations": durations,
        "__doc__": transition.__doc__,
        "__module__": transition.__module__,
    }
    parameters = [*_FIRST, *(available[key] for key in order or available)]
    # `init` finds the class by this name, since `super()` needs it and it does not exist before.
    cls = _made(name, (PolicyScheduler,), body, parameters, init)
    return cls


def named(mixin: type, scheduler: type[_ParamScheduler], suffix: str) -> Any:
    """Make and register the version of ``scheduler`` whose param name ``mixin`` knows.

    `StepParamScheduler` with the suffix ``'LR'`` becomes `StepLR`, in the module of ``mixin``.
    """

    def init(self: Any, bound: inspect.BoundArguments) -> None:
        super(cls, self).__init__(*bound.args[1:], **bound.kwargs)

    name = scheduler.__name__.removesuffix("ParamScheduler") + suffix
    built_in = vars(scheduler).get("built_in", False)
    meaning = (scheduler.__doc__ or "").partition("\n\nArgs:")[0]
    body = {"__doc__": meaning, "__module__": mixin.__module__, "built_in": built_in}
    known = inspect.signature(scheduler.__init__).parameters.values()
    parameters = [parameter for parameter in known if parameter.name != "param_name"]
    cls = _made(name, (mixin, scheduler), body, parameters, init)
    return cls


def _made(
    name: str,
    bases: tuple[type, ...],
    body: dict[str, Any],
    parameters: list[inspect.Parameter],
    init: Callable[[Any, inspect.BoundArguments], None],
) -> Any:
    """Return a registered class that says its arguments, and gives them to ``init``."""
    signature = inspect.Signature(parameters)

    # In each class and not once in the base: users' subclasses call the class above by its name.
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            accepted = list(signature.parameters)[1:]
            unknown = (key for key in kwargs if key not in accepted)
            hint = did_you_mean(match for key in unknown for match in closest(key, accepted, 1))
            takes = f"It takes {', '.join(accepted)}."
            raise ArgumentError(f"{type(self).__name__}() {error}.{hint} {takes}") from None
        bound.apply_defaults()
        init(self, bound)

    # The registry's messages, `explain` and documentation read the signature from here.
    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{name}.__init__"
    # `python -OO` leaves no docstrings.
    common = [f"    {p.name}: {_MEANINGS[p.name]}" for p in parameters if p.name in _MEANINGS]
    doc = "\n".join([inspect.cleandoc(body["__doc__"] or ""), "", "Args:", *common])
    cls = type(name, bases, {**body, "__doc__": doc, "__init__": __init__})
    return PARAM_SCHEDULERS.register_module(module=cls)
