"""A scheduler class from two pure functions: which settings there are, and one transition."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable
from itertools import repeat
from operator import setitem
from typing import TYPE_CHECKING, Any, ClassVar

from mm2pl.optim.scheduler.base import INF, _ParamScheduler
from mm2pl.registry import PARAM_SCHEDULERS
from mm2pl.utils.closest import closest, did_you_mean
from mm2pl.utils.errors import ArgumentError

_KEYWORD = inspect.Parameter.POSITIONAL_OR_KEYWORD
_COMMON = {
    name: parameter
    for name, parameter in inspect.signature(_ParamScheduler).parameters.items()
    if name not in ("optimizer", "param_name")
}


class PolicyScheduler(_ParamScheduler):
    """Base of the built-in policies.

    A policy is a class with two static functions. `_settings` takes the length ``end - begin`` and
    the policy's own arguments, checks them, and returns the attributes of the scheduler.
    `_transition` takes the step, the values now, the base values and those attributes (as far as it
    names them), and returns the new values. The constructor
    ``(optimizer, param_name, <own arguments>, begin, end, last_step, by_epoch, verbose)`` is made
    from them. Subclasses that define no `_settings` are ordinary classes.
    """

    durations: ClassVar[tuple[str, ...]] = ()
    """Arguments that are a number of steps, or a list of them: scaled with the epoch's length."""
    order: ClassVar[tuple[str, ...]] = ()
    """The order of the arguments after ``param_name``, where MMEngine's is not the usual one."""
    _settings: ClassVar[Callable[..., dict[str, Any]]]
    _transition: ClassVar[Callable[..., list[float]]]
    _inputs: ClassVar[tuple[str, ...]]

    if TYPE_CHECKING:  # the constructors are made in __init_subclass__

        def __init__(self, *args: Any, **kwargs: Any) -> None: ...

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "_settings" in vars(cls):
            own = _keywords(cls._settings)
            available = {**own, **_COMMON}
            order = cls.order or tuple(available)
            first = inspect.signature(_ParamScheduler.__init__).parameters
            parameters = [first[name] for name in ("self", "optimizer", "param_name")]
            parameters += [available[name] for name in order]
            cls.__init__ = _constructor(cls, tuple(own), parameters)  # type: ignore[method-assign]
            PARAM_SCHEDULERS.register_module(module=cls)
        if "_transition" in vars(cls):
            cls._inputs = tuple(_keywords(cls._transition))

    def _get_value(self) -> list[float]:
        return self._next([group[self.param_name] for group in self.optimizer.param_groups])

    def _next(self, values: list[float]) -> list[float]:
        settings = {key: getattr(self, key) for key in self._inputs}
        return type(self)._transition(self.last_step, values, self.base_values, **settings)

    def _update(self, groups: list[dict[str, Any]], name: str) -> list[float]:
        if type(self)._get_value is not PolicyScheduler._get_value:
            return super()._update(groups, name)
        # With hundreds of groups, reading and writing them is what takes time: do each only once, in C.
        values = [group[name] for group in groups]
        updated = self._next(values)
        if updated is not values:
            deque(map(setitem, groups, repeat(name), updated), maxlen=0)
        return updated

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
        if not by_epoch:
            raise ArgumentError("by_epoch=False is by iteration already: leave it out here.")
        if epoch_length is None or epoch_length <= 0:
            raise ArgumentError(f"epoch_length={epoch_length!r} must be a positive integer.")
        by_position = inspect.signature(cls).bind_partial(*args).arguments
        for name in cls.durations:
            if name in by_position:
                raise TypeError(f"{cls.__name__}.build_iter_from_epoch: give {name}=... by name.")
            if kwargs.get(name) is not None:
                kwargs[name] = _scaled(kwargs[name], epoch_length)
        begin = int(begin * epoch_length)
        end = end if end == INF else int(end * epoch_length)
        return cls(*args, begin=begin, end=end, by_epoch=False, **kwargs)


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    found = inspect.signature(function, eval_str=False).parameters.items()
    keyword_only = inspect.Parameter.KEYWORD_ONLY
    return {name: p.replace(kind=_KEYWORD) for name, p in found if p.kind == keyword_only}


def _scaled(duration: Any, factor: int) -> Any:
    if isinstance(duration, list | tuple):
        return [part * factor for part in duration]
    return duration * factor


def _constructor(
    cls: type[PolicyScheduler], own: tuple[str, ...], parameters: list[inspect.Parameter]
) -> Callable[..., None]:
    """Return the ``__init__`` of a policy, with a signature that says what it takes."""
    signature = inspect.Signature(parameters)

    def __init__(self: PolicyScheduler, *args: Any, **kwargs: Any) -> None:
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError as error:
            accepted = _accepted(type(self)) or list(signature.parameters)[1:]
            hint = did_you_mean(
                match
                for name in kwargs
                if name not in accepted
                for match in closest(name, accepted, 1)
            )
            raise TypeError(
                f"{type(self).__name__}() {error}.{hint} It takes {', '.join(accepted)}."
            ) from None
        bound.apply_defaults()
        given = bound.arguments
        span = given["end"] - given["begin"]
        vars(self).update(cls._settings(span, **{name: given[name] for name in own}))
        common = {name: given[name] for name in _COMMON}
        super(cls, self).__init__(given["optimizer"], given["param_name"], **common)

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{cls.__qualname__}.__init__"
    return __init__


def _accepted(cls: type) -> list[str]:
    """Return the arguments of a class; none if it does not name all of them."""
    parameters = inspect.signature(cls).parameters.values()
    named_all = all(parameter.kind is _KEYWORD for parameter in parameters)
    return [parameter.name for parameter in parameters] if named_all else []


def named(mixin: type, scheduler: type[_ParamScheduler], suffix: str) -> Any:
    """Make and register the version of ``scheduler`` whose param name ``mixin`` knows.

    `StepParamScheduler` with the suffix ``'LR'`` becomes `StepLR`. The class lives in the module of
    ``mixin``, so that it can be pickled.
    """
    name = scheduler.__name__.removesuffix("ParamScheduler") + suffix

    def __init__(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
        super(cls, self).__init__(optimizer, *args, **kwargs)

    signature = inspect.signature(scheduler.__init__)
    parameters = [p for p in signature.parameters.values() if p.name != "param_name"]
    __init__.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    __init__.__qualname__ = f"{name}.__init__"
    cls: Any = type(
        name,
        (mixin, scheduler),
        {"__init__": __init__, "__doc__": scheduler.__doc__, "__module__": mixin.__module__},
    )
    return PARAM_SCHEDULERS.register_module(module=cls)
