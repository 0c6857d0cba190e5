"""Models of MMCV 1.x under the loops of today, their methods unchanged."""

from __future__ import annotations

import inspect
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any, ClassVar

import torch
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.model import BaseModel
from mm2pl.optim import OptimWrapper
from mm2pl.optim.abilities import casts, holds_several, wrappers_of

Method = Callable[..., Any]


class MMCVModel(BaseModel):
    """Base of models that were written for MMCV 1.x: put it in the place of their ``nn.Module`` or ``BaseModule``.

    A subclass keeps ``train_step(data, optimizer)``, ``val_step(data, optimizer)`` and ``forward(…, return_loss=…)``,
    called by each other as before. Called as the loops of today do,

    - ``train_step(data, optim_wrapper=…)`` runs the old one. If that returns a ``loss``, it then runs backward and
      steps, as `OptimizerHook` did; but not if the old one has stepped or run backward on the loss itself. The old
      method gets the wrapper as its ``optimizer``, which has ``step``, ``zero_grad`` and ``param_groups``; of several
      optimizers it takes one by its name, ``optimizer["name"]``. The result is ``log_vars``; each iteration counts
      the same in the log, as in MMEngine.
    - ``val_step(data)`` and ``test_step(data)`` return ``forward(return_loss=False, **data)``.
    - ``forward(…, mode=…)``: ``"loss"`` and ``"predict"`` are ``return_loss=True`` and ``False`` (or
      ``test_mode=False`` and ``True``), ``"tensor"`` is ``forward_dummy``.
    - A ``forward(…, mode="train")`` with a mode of the project's own stays as it is: training calls ``forward(…)``,
      and ``test_arguments = dict(mode="test")`` says how to ask for predictions.

    A loss that the model scales and steps by itself needs an `OptimWrapper` without AMP.

    Args:
        init_cfg: See `BaseModule`. It comes first, as in MMCV 1.x.
        data_preprocessor: See `BaseModel`.

    Attributes:
        test_arguments: What the project's test function gave ``forward`` too, such as ``dict(rescale=True)``.

    Example:
        >>> class Line(MMCVModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, x, return_loss=True):
        ...         return dict(loss=(self.slope * x).square()) if return_loss else [self.slope * x]
        ...     def train_step(self, data, optimizer):
        ...         return dict(loss=self(**data)["loss"], log_vars=dict(a=1.0), num_samples=1)
        >>> line = Line()
        >>> optimizer = torch.optim.SGD(line.parameters(), lr=0.25)
        >>> line.train_step(dict(x=torch.tensor(1.0)), optim_wrapper=OptimWrapper(optimizer)), line.slope.item()
        ({'a': 1.0}, 1.0)
    """

    test_arguments: ClassVar[Mapping[str, Any]] = {}
    _has_own_mode: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # A parent's too: `forward(self, img, **kwargs)` may hand the mode on to it.
        own = [vars(c).get("forward") for c in cls.__mro__ if c not in MMCVModel.__mro__]
        cls._has_own_mode = any(
            "mode" in inspect.signature(forward).parameters for forward in own if callable(forward)
        )
        for name, both in _BOTH.items():
            owner = next(each for each in cls.__mro__ if name in vars(each))
            # A mixin's method is one of 1.x too; that of a parent has been taken when the parent was made.
            if name == "forward" and cls._has_own_mode:
                continue
            if owner is cls or not issubclass(owner, BaseModel):
                setattr(cls, name, both(vars(owner)[name]))

    def __init__(
        self,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
    ) -> None:
        super().__init__(data_preprocessor, init_cfg)

    def _run_forward(self, data: Any, mode: str) -> Any:
        given = self._own_mode(mode) if self._has_own_mode else {"mode": mode}
        results = self(**data, **given) if isinstance(data, dict) else self(*data, **given)
        # MMEditing 0.x returns one dict for a batch of one; metrics go through the samples.
        return [results] if mode == "predict" and isinstance(results, Mapping) else results

    def _own_mode(self, mode: str) -> Mapping[str, Any]:
        """Return what a ``forward`` with a mode of its own is given."""
        if mode == "loss":
            return {}
        if "mode" not in self.test_arguments:
            kind = type(self).__name__
            raise ArgumentError(
                f"{kind}.forward has a mode of its own, so it is unknown which one returns predictions → say what the "
                f"project's test function gave it, such as test_arguments = dict(mode='test') in {kind}."
            )
        return self.test_arguments

    def _in_mode(self, mode: str, args: Any, kwargs: dict[str, Any]) -> Any:
        """Return what ``forward(mode=…)`` stands for."""
        kind = type(self).__name__
        if mode == "tensor":
            dummy = getattr(self, "forward_dummy", None)
            if dummy is None:
                raise ArgumentError(
                    f"{kind}.forward(mode='tensor') → give {kind} a forward_dummy, which returns raw output."
                )
            return dummy(*args, **kwargs)
        if mode not in ("loss", "predict"):
            raise ArgumentError(f"mode={mode!r} → one of 'loss', 'predict', 'tensor'.")
        trains = mode == "loss"
        parameters = inspect.signature(self.forward).parameters
        if "test_mode" in parameters:
            kwargs["test_mode"] = not trains
        elif "return_loss" in parameters or any(
            parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()
        ):
            kwargs["return_loss"] = trains
        else:
            raise ArgumentError(
                f"{kind}.forward has neither return_loss nor test_mode, so it cannot return what mode={mode!r} is "
                "→ add return_loss=True to its parameters, and return predictions where it is False."
            )
        call: Method = self.forward
        return call(*args, **kwargs, **({} if trains else self.test_arguments))

    def _update(self, step: Method, data: Any, wrapper: OptimWrapper) -> dict[str, Any]:
        """Run the old ``train_step``, and take the optimizer's step where it has not."""
        several = holds_several(wrapper)
        data = self.data_preprocessor(data, True)
        with (
            _steps(wrapper) as stepped,
            nullcontext() if several else wrapper.optim_context(self),
        ):
            outputs = step(self, data, wrapper)
        if not isinstance(outputs, Mapping):
            raise ArgumentError(
                f"{type(self).__name__}.train_step returned {type(outputs).__name__} → MMCV 1.x takes a dict, with "
                "'loss', 'log_vars' and 'num_samples'."
            )
        loss = outputs.get("loss")
        graded = any(parameter.grad is not None for parameter in self.parameters())
        if stepped or (graded and (loss is None or _is_spent(loss))):
            pass  # the model has done what there was to do
        elif loss is None:
            raise ArgumentError(
                f"{type(self).__name__}.train_step returned no 'loss', called no backward and took no step → return "
                f"dict(loss=…, log_vars=…, num_samples=…); it has {sorted(map(str, outputs))}."
            )
        elif several:
            raise ArgumentError(
                f"{type(self).__name__}.train_step returned a loss and has not stepped, with several optimizers → "
                "call backward and optimizer[name].step() in it."
            )
        else:
            wrapper.update_params(loss)
        logged = outputs.get("log_vars")
        return dict(logged) if logged else {"loss": loss} if loss is not None else {}


@contextmanager
def _steps(wrapper: Any) -> Iterator[list[Any]]:
    """Collect the steps that optimizers take inside."""
    taken: list[Any] = []

    def note(optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        taken.append(optimizer)

    with ExitStack() as stack:
        for each in wrappers_of(wrapper).values():
            stack.callback(each.optimizer.register_step_post_hook(note).remove)
            if casts(each) and hasattr(each, "inner_count"):
                stack.enter_context(_scaled(each))
        yield taken


@contextmanager
def _scaled(wrapper: Any) -> Iterator[None]:
    """Refuse a step on gradients of a loss that the wrapper has not scaled; torch 2.x fails an assertion there."""
    step, count = wrapper.step, wrapper.inner_count

    def scaled_step(**kwargs: Any) -> None:
        if wrapper.loss_scaler.is_enabled() and wrapper.inner_count == count:
            raise ArgumentError(
                f"train_step has called backward and optimizer.step() itself, with {type(wrapper).__name__}, which "
                "scales the loss → return the loss and leave both to the run, or train with type='OptimWrapper' in "
                "optim_wrapper."
            )
        step(**kwargs)

    wrapper.step = scaled_step
    try:
        yield
    finally:
        del wrapper.step


def _is_spent(loss: Any) -> bool:
    """Return whether backward has been run on a loss: that drops what its graph has saved."""
    nodes = [loss.grad_fn] if isinstance(loss, torch.Tensor) else []
    while nodes:
        node = nodes.pop()
        if node is None:
            continue
        for name in ("saved_tensors", *(n for n in dir(node) if n.startswith("_saved_"))):
            try:
                saved = getattr(node, name, None)
            except RuntimeError:
                return True
            # Sizes and dimensions stay; only tensors are dropped.
            kept = saved if isinstance(saved, tuple) else (saved,)
            if any(isinstance(each, torch.Tensor) for each in kept):
                return False
        nodes += [each for each, _ in node.next_functions]
    return False


_validates_as_1x: ContextVar[bool] = ContextVar("validates_as_1x", default=False)


@contextmanager
def validating_as_1x() -> Iterator[None]:
    """Let ``val_step(data)`` be the old one inside: a runner of 1.x calls it."""
    token = _validates_as_1x.set(True)
    try:
        yield
    finally:
        _validates_as_1x.reset(token)


def _train_step(method: Method) -> Method:
    @wraps(method)
    def train_step(
        self: MMCVModel, data: Any, *args: Any, optim_wrapper: Any = None, **kwargs: Any
    ) -> Any:
        # The loops of MMEngine 0.10.7 give the wrapper by this name. `super()` and 1.x' runners never do.
        if optim_wrapper is None:
            return method(self, data, *args, **kwargs)
        return self._update(partial(method, **kwargs), data, optim_wrapper)

    # What it takes, not what the old method did: an error inside would look like a call that does not fit.
    train_step.__signature__ = inspect.signature(train_step, follow_wrapped=False)  # type: ignore[attr-defined]
    return train_step


def _val_step(method: Method) -> Method:
    @wraps(method)
    def val_step(self: MMCVModel, data: Any, *args: Any, **kwargs: Any) -> Any:
        # The loops of today give the batch alone and want predictions; so do 1.x' IterBasedRunners, which want losses.
        if args or kwargs or _validates_as_1x.get():
            return method(self, data, *args, **kwargs)
        return BaseModel.val_step(self, data)

    return val_step


def _forward(method: Method) -> Method:
    @wraps(method)
    def forward(self: MMCVModel, *args: Any, mode: str | None = None, **kwargs: Any) -> Any:
        if mode is None:
            return method(self, *args, **kwargs)
        return self._in_mode(mode, args, kwargs)

    return forward


_BOTH = {"train_step": _train_step, "val_step": _val_step, "forward": _forward}
"""Methods of 1.x that loops of today call otherwise → what serves both."""


class _Built(ABCMeta):
    """Mark what is made: its ``__init__`` has returned."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        model = super().__call__(*args, **kwargs)
        model._is_built = True
        return model


class MMCVPlainModel(MMCVModel, metaclass=_Built):
    """`MMCVModel` for models that were a ``torch.nn.Module``: only what the class itself defines initialises weights.

    `MMCVModel` has the ``init_weights`` of `BaseModule`, which calls that of every child and so overwrites weights that
    ``__init__`` has loaded. Here nothing is done, unless the class has its own ``init_weights``. A run calls that once,
    as the scripts of 1.x did; not if ``__init__`` has called it, and not if it needs arguments.

    Args:
        init_cfg: As for `MMCVModel`; nothing applies it.
        data_preprocessor: See `BaseModel`.

    Example:
        >>> class Net(MMCVPlainModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, x, return_loss=True):
        ...         return dict(loss=self.slope * x) if return_loss else [self.slope * x]
        >>> Net().init_weights()
    """

    _is_built = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        owner = next(each for each in cls.__mro__ if "init_weights" in vars(each))
        if owner is cls or not issubclass(owner, BaseModel):
            cls.init_weights = _once(vars(owner)["init_weights"])  # type: ignore[method-assign]

    def init_weights(self) -> None:
        """Do nothing, since ``torch.nn.Module`` has no such method."""


def _once(method: Method) -> Method:
    parameters = list(inspect.signature(method).parameters.values())[1:]
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    needs = any(p.default is p.empty and p.kind not in kinds for p in parameters)

    @wraps(method)
    def init_weights(self: MMCVPlainModel, *args: Any, **kwargs: Any) -> Any:
        if self._is_built and not args and not kwargs and (self._is_init or needs):
            return None
        result = method(self, *args, **kwargs)
        self._is_init = True
        return result

    return init_weights
