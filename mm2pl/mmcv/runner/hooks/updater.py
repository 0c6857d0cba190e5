"""Learning rate and momentum, set anew in each iteration as MMCV 1.x does."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError, ReadableKeyError, StateError
from mm2pl.mmcv.policies import (
    BY_ITERATION,
    POLICIES,
    WARMUP_RATIO,
    WARMUPS,
    argument_of,
    check_warmup,
    pair_of_ratios,
)
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.hooks.hook import Hook

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner

Groups = list[float] | dict[str, list[float]]


class _UpdaterHook(Hook):
    """Set one entry of the param groups: the regular value, times or over the warm-up's factor.

    The arguments are described once, in `LrUpdaterHook`.
    """

    kind = ""

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = WARMUP_RATIO["lr"],
        warmup_by_epoch: bool = False,
    ) -> None:
        check_warmup(warmup, warmup_iters, warmup_ratio)
        self.by_epoch = by_epoch
        self.warmup = warmup
        # The length of an epoch is not known before the first `before_train_epoch`.
        self.warmup_iters: int | None = None if warmup_by_epoch else warmup_iters
        self.warmup_epochs = warmup_iters if warmup_by_epoch else None
        self.warmup_ratio = warmup_ratio
        self.warmup_by_epoch = warmup_by_epoch
        self._base: Groups = []
        self._regular: Groups = []

    def _value(self, runner: BaseRunner, base: float) -> float:
        raise NotImplementedError

    def _get(self, group: dict[str, Any]) -> float:
        raise NotImplementedError

    def _set(self, group: dict[str, Any], value: float) -> None:
        raise NotImplementedError

    def _scaled(self, value: float, factor: float) -> float:
        return value * factor

    def _write(self, runner: BaseRunner, values: Groups) -> None:
        for optimizer, own in _pairs(runner.optimizer, values):
            # MMCV 1.7.2 lets a subclass return fewer values than there are groups; the rest keep theirs.
            for group, value in zip(optimizer.param_groups, own, strict=False):
                self._set(group, value)

    def _regular_values(self, runner: BaseRunner) -> Groups:
        if isinstance(self._base, dict):
            return {k: [self._value(runner, b) for b in v] for k, v in self._base.items()}
        return [self._value(runner, base) for base in self._base]

    def _warmup_values(self, iteration: int) -> Groups:
        assert self.warmup is not None
        assert self.warmup_iters is not None
        factor = WARMUPS[self.warmup](iteration, self.warmup_iters, self.warmup_ratio)
        if isinstance(self._regular, dict):
            return {k: [self._scaled(v, factor) for v in vs] for k, vs in self._regular.items()}
        return [self._scaled(value, factor) for value in self._regular]

    def before_run(self, runner: BaseRunner) -> None:
        """Note the values that the optimizer starts with, or started with before it was resumed."""
        # 'initial_lr' is torch's own key, and the optimizer's state dict holds it.
        # So a resumed run finds the base value, not the one at which the run stopped.
        initial = f"initial_{self.kind}"

        def bases(optimizer: Any) -> list[float]:
            return [g.setdefault(initial, self._get(g)) for g in optimizer.param_groups]

        optimizer = runner.optimizer
        if isinstance(optimizer, dict):
            self._base = {name: bases(one) for name, one in optimizer.items()}
        else:
            self._base = bases(optimizer)

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Set the regular values of an epoch."""
        # With the first loader's length, as in MMCV 1.7.2, even if later flows have other loaders.
        if self.warmup_iters is None:
            assert self.warmup_epochs is not None
            self.warmup_iters = self.warmup_epochs * len(runner.data_loader)
        # Kept for the iterations: the warm-up multiplies the epoch's value without computing it again.
        if self.by_epoch:
            self._regular = self._regular_values(runner)
            self._write(runner, self._regular)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Set the values of an iteration, as far as they change in it."""
        if self.warmup_iters is None:
            # MMCV 1.7.2 fails on an assertion here: IterBasedRunner calls no `before_train_epoch`.
            raise StateError(
                "warmup_by_epoch=True under IterBasedRunner, which has no epochs → give warmup_iters in iterations."
            )
        iteration = runner.iter
        warming = self.warmup is not None and iteration < self.warmup_iters
        if not self.by_epoch:
            self._regular = self._regular_values(runner)
        if warming:
            self._write(runner, self._warmup_values(iteration))
        # At `warmup_iters` itself the epoch's value must come back
        # once: the warm-up has replaced it within the epoch.
        elif not self.by_epoch or (self.warmup is not None and iteration == self.warmup_iters):
            self._write(runner, self._regular)

    def _progress(self, runner: BaseRunner) -> tuple[int, int]:
        if self.by_epoch:
            return runner.epoch, runner.max_epochs
        # Read each time, as in MMCV 1.7.2: an epoch with another loader changes it.
        return runner.iter, runner.max_iters


class LrUpdaterHook(_UpdaterHook):
    """Set the learning rate; subclasses define `get_lr`.

    Args:
        by_epoch: Whether the regular value changes per epoch or per iteration.
        warmup: None, ``'constant'``, ``'linear'`` or ``'exp'``.
        warmup_iters: Length of the warm-up, in iterations.
        warmup_ratio: The factor it starts at, in (0, 1].
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.
    """

    kind = "lr"

    def get_lr(self, runner: BaseRunner, base_lr: float) -> float:
        """Return the regular learning rate at this moment."""
        raise NotImplementedError

    def get_regular_lr(self, runner: BaseRunner) -> Groups:
        """Return the regular learning rates of all groups."""
        # `get_regular_lr`, `get_warmup_lr` and `_set_lr` are MMCV 1.7.2's names, which 1.x toolboxes override.
        # YOLOXLrUpdaterHook of MMDetection 2 has a `get_warmup_lr` of its own.
        return super()._regular_values(runner)

    def get_warmup_lr(self, cur_iters: int) -> Groups:
        """Return the learning rates of an iteration of the warm-up."""
        return super()._warmup_values(cur_iters)

    def _set_lr(self, runner: BaseRunner, lr_groups: Groups) -> None:
        super()._write(runner, lr_groups)

    # What the base calls goes through the methods that subclasses override.

    def _regular_values(self, runner: BaseRunner) -> Groups:
        return self.get_regular_lr(runner)

    def _warmup_values(self, iteration: int) -> Groups:
        return self.get_warmup_lr(iteration)

    def _write(self, runner: BaseRunner, values: Groups) -> None:
        self._set_lr(runner, values)

    @property
    def base_lr(self) -> Groups:
        """The learning rates that the optimizer started with."""
        return self._base

    @base_lr.setter
    def base_lr(self, value: Groups) -> None:
        self._base = value

    @property
    def regular_lr(self) -> Groups:
        """The learning rates without the warm-up."""
        return self._regular

    @regular_lr.setter
    def regular_lr(self, value: Groups) -> None:
        self._regular = value

    def _value(self, runner: BaseRunner, base: float) -> float:
        return self.get_lr(runner, base)

    def _get(self, group: dict[str, Any]) -> float:
        return group["lr"]

    def _set(self, group: dict[str, Any], value: float) -> None:
        group["lr"] = value


class MomentumUpdaterHook(_UpdaterHook):
    """Set the momentum, or Adam's first beta; subclasses define `get_momentum`.

    The arguments are those of `LrUpdaterHook`, but that the warm-up divides by its factor.
    """

    kind = "momentum"

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = WARMUP_RATIO["momentum"],
    ) -> None:
        # MMCV 1.7.2 has no `warmup_by_epoch` for the momentum.
        super().__init__(by_epoch, warmup, warmup_iters, warmup_ratio)

    def get_momentum(self, runner: BaseRunner, base_momentum: float) -> float:
        """Return the regular momentum at this moment."""
        raise NotImplementedError

    def _value(self, runner: BaseRunner, base: float) -> float:
        return self.get_momentum(runner, base)

    def get_regular_momentum(self, runner: BaseRunner) -> Groups:
        """Return the regular momentum of all groups."""
        # As for the learning rate: MMCV 1.7.2's names, which subclasses call and override.
        return super()._regular_values(runner)

    def get_warmup_momentum(self, cur_iters: int) -> Groups:
        """Return the momentum of an iteration of the warm-up."""
        return super()._warmup_values(cur_iters)

    def _set_momentum(self, runner: BaseRunner, momentum_groups: Groups) -> None:
        super()._write(runner, momentum_groups)

    def _regular_values(self, runner: BaseRunner) -> Groups:
        return self.get_regular_momentum(runner)

    def _warmup_values(self, iteration: int) -> Groups:
        return self.get_warmup_momentum(iteration)

    def _write(self, runner: BaseRunner, values: Groups) -> None:
        self._set_momentum(runner, values)

    @property
    def base_momentum(self) -> Groups:
        """The momentum that the optimizer started with."""
        return self._base

    @base_momentum.setter
    def base_momentum(self, value: Groups) -> None:
        self._base = value

    @property
    def regular_momentum(self) -> Groups:
        """The momentum without the warm-up."""
        return self._regular

    @regular_momentum.setter
    def regular_momentum(self, value: Groups) -> None:
        self._regular = value

    def _scaled(self, value: float, factor: float) -> float:
        # The momentum starts higher and falls to its value, in the opposite direction of the learning rate.
        return value / factor

    def _get(self, group: dict[str, Any]) -> float:
        # Adam's first beta plays the part of the momentum in MMCV 1.7.2; the second stays.
        return group["momentum"] if "momentum" in group else group["betas"][0]

    def _set(self, group: dict[str, Any], value: float) -> None:
        if "momentum" in group:
            group["momentum"] = value
        elif "betas" in group:
            group["betas"] = (value, group["betas"][1])


def format_param(name: str, optim: Any, param: Any) -> Any:
    """Return one value for each param group of an optimizer.

    Args:
        name: What the optimizer is called, among several.
        optim: The optimizer.
        param: A number for all groups, a list with one for each, or such lists by the names of optimizers.

    Raises:
        KeyError: It has none for ``name``.
        ValueError: There are not as many values as groups.
    """
    groups = len(optim.param_groups)
    if isinstance(param, Mapping):
        if name not in param:
            raise ReadableKeyError(
                f"there are no values for the optimizer {name!r}, only for {list(param)} → name it too"
            )
        # MMCV 1.7.2 does not count these.
        return param[name]
    values = [param] * groups if isinstance(param, Number) else param
    if len(values) != groups:
        raise ArgumentError(
            f"{len(values)} values {values!r} for the {groups} param groups of {name} → give one for each, or a number"
        )
    return values


def _pairs(optimizer: Any, values: Groups) -> list[tuple[Any, list[float]]]:
    if isinstance(values, dict):
        return [(optimizer[name], own) for name, own in values.items()]
    return [(optimizer, values)]


def _policy_hook(base: type[_UpdaterHook], policy: str, method: str) -> type[_UpdaterHook]:
    """Make the hook of one policy: its own arguments first, the warm-up's after them."""
    name = base.kind
    function = POLICIES[name][policy]
    common = ("by_epoch", "warmup", "warmup_iters", "warmup_ratio", "warmup_by_epoch")

    def __init__(self: Any, **kwargs: Any) -> None:
        shared = {key: kwargs.pop(key) for key in common if key in kwargs}
        # MMCV 1.7.2's cyclic and OneCycle hooks default to by_epoch=False, unlike all others.
        if policy in BY_ITERATION and shared.setdefault("by_epoch", False):
            raise ArgumentError(f"by_epoch=True: the policy {policy!r} only counts iterations.")
        if "target_ratio" in kwargs:
            kwargs["target_ratio"] = pair_of_ratios(kwargs["target_ratio"])
        self.policy_args = {argument_of(k, name): v for k, v in kwargs.items() if v is not None}
        base.__init__(self, **shared)

    def get(self: Any, runner: BaseRunner, value: float) -> float:
        step, length = self._progress(runner)
        return function(step, value, length, **self.policy_args)

    # The names by which `register_lr_hook` finds them; configs may also give them as `type`.
    title = policy.title() if policy.islower() else policy
    suffix = "LrUpdaterHook" if name == "lr" else "MomentumUpdaterHook"
    doc = f"Set the {name} by the policy {policy!r}; see `mm2pl.mmcv.policies`."
    body = {"__init__": __init__, method: get, "__doc__": doc, "__module__": __name__}
    return HOOKS.register_module(module=type(f"{title}{suffix}", (base,), body))


POLICY_HOOKS: dict[str, type[_UpdaterHook]] = {
    hook.__name__: hook
    for hook in (
        *(_policy_hook(LrUpdaterHook, policy, "get_lr") for policy in POLICIES["lr"]),
        *(
            _policy_hook(MomentumUpdaterHook, policy, "get_momentum")
            for policy in POLICIES["momentum"]
        ),
    )
}
"""All policies' hooks by their 1.x names."""

# 1.x code imports these classes by name, such as StepLrUpdaterHook.
globals().update(POLICY_HOOKS)
