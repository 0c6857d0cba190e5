"""From a config to an optimizer wrapper, with settings per parameter."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mm2pl.closest import closest, did_you_mean, misspelt
from mm2pl.errors import refused_values
from mm2pl.logging import print_log
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper
from mm2pl.optim.paramwise import OPTIONS, ParamwiseSettings
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
_DCN = ("DeformConv2d", "ModulatedDeformConv2d")
_MULTS = ("lr_mult", "decay_mult")

_UNSAID: ContextVar[list[Callable[[], None]] | None] = ContextVar("_UNSAID", default=None)


@contextmanager
def unused_keys_told_later() -> Iterator[list[Callable[[], None]]]:
    """Collect the warnings of what has no effect: inside, a model is built for that has not all its parameters yet.

    Yields:
        What gives the warnings when it is called, for the parameters that the model has by then.
    """
    unsaid: list[Callable[[], None]] = []
    token = _UNSAID.set(unsaid)
    try:
        yield unsaid
    finally:
        _UNSAID.reset(token)


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class DefaultOptimWrapperConstructor(ParamwiseSettings):
    """Build an optimizer wrapper; stands for `mmengine.optim.DefaultOptimWrapperConstructor`.

    With ``paramwise_cfg`` each parameter is a param group of its own. Its keys:

    - ``custom_keys``: from a part of a parameter's name to ``dict(lr_mult=…, decay_mult=…)`` and
      any other entries of the group. The longest key that occurs in a name counts, and no other
      rule then does.
    - ``bias_lr_mult``, ``bias_decay_mult``: for biases, but not those of norm layers and of a
      deformable convolution's offsets.
    - ``norm_decay_mult``: for norm layers; ``dwconv_decay_mult``: for depthwise convolutions;
      ``flat_decay_mult``: for parameters of one dimension. The first that applies counts, in the
      order norm, bias, depthwise, flat.
    - ``dcn_offset_lr_mult``: for the offsets of mmcv's deformable convolutions.
    - ``bypass_duplicate``: skip a parameter that was seen before, instead of failing.

    A key of ``custom_keys`` that occurs in no name is warned about.

    Args:
        optim_wrapper_cfg: ``optimizer`` (with ``type``), ``type`` (default ``'OptimWrapper'``) and
            arguments of the wrapper.
        paramwise_cfg: See above; None: one group of all parameters.

    Raises:
        TypeError: One of the configs, or a value in them, is of another type.
        KeyError: ``optimizer`` has no ``type``.
        AssertionError: There is no ``optimizer``.
        ValueError: A multiplier has no ``weight_decay`` or ``lr`` to multiply.
    """

    def _is_in(self, param_group: dict[str, Any], param_group_list: list[dict[str, Any]]) -> bool:
        """Return whether any parameter of the group is in one of the groups."""
        # By identity: `==` of parameters compares element by element.
        seen = {id(param) for group in param_group_list for param in group["params"]}
        return any(id(param) in seen for param in param_group["params"])

    def add_params(
        self,
        params: list[dict[str, Any]],
        module: nn.Module,
        prefix: str = "",
        is_dcn_module: bool | int | float | None = None,
    ) -> None:
        """Append a group per parameter of ``module`` and its children to ``params``.

        Args:
            params: The groups so far; changed.
            module: The model at first, then recursively its children.
            prefix: The name of ``module`` in the model.
            is_dcn_module: Whether the parent of ``module`` is a deformable convolution.
        """
        bypass_duplicate = self.paramwise_cfg.get("bypass_duplicate", False)
        # A parameter shared by two modules comes twice, and torch.optim refuses it: hence `bypass_duplicate`.
        for name, param in module.named_parameters(recurse=False):
            group: dict[str, Any] = {"params": [param]}
            if bypass_duplicate and self._is_in(group, params):
                _warn(f"{prefix} is duplicate. It is skipped since {bypass_duplicate=}")
                continue
            # MMEngine leaves frozen parameters out of the groups here, but keeps them without `paramwise_cfg`.
            if not param.requires_grad:
                _warn(f"{prefix}.{name} is skipped since its requires_grad={param.requires_grad}")
                continue
            # MMEngine 0.10.7 matches ".weight" for a parameter of the model itself.
            key = self._custom_key(f"{prefix}.{name}")
            if key is not None:
                group.update(self._custom_settings(key))
            else:
                group.update(self._rule_settings(module, name, param, prefix, is_dcn_module))
            params.append(group)
            full_name = f"{prefix}.{name}" if prefix else name
            for entry, value in group.items():
                if entry != "params":
                    print_log(f"paramwise_options -- {full_name}:{entry}={value}", logger="current")
        # For the children: the offsets come from a Conv2d inside of the deformable convolution.
        is_dcn = _is_dcn(module)
        for child_name, child in module.named_children():
            child_prefix = f"{prefix}.{child_name}" if prefix else child_name
            self.add_params(params, child, prefix=child_prefix, is_dcn_module=is_dcn)

    def _rule_settings(
        self, module: nn.Module, name: str, param: nn.Parameter, prefix: str, in_dcn: object
    ) -> dict[str, Any]:
        """Return the settings that the kinds of layer and parameter ask for."""
        options = self.paramwise_cfg.get
        is_norm = isinstance(module, _NORMS)
        is_conv = isinstance(module, nn.Conv2d)
        is_bias = name == "bias"
        lr_mults = (
            (is_conv and in_dcn and "conv_offset" in prefix, options("dcn_offset_lr_mult")),
            (is_bias and not is_norm and not in_dcn, options("bias_lr_mult")),
        )
        decay_mults = (
            # First: a norm's bias is a norm parameter before it is a bias.
            (is_norm, options("norm_decay_mult")),
            (is_bias and not in_dcn, options("bias_decay_mult")),
            (is_conv and _is_depthwise(module), options("dwconv_decay_mult")),
            (param.ndim == 1 and not in_dcn, options("flat_decay_mult")),
        )
        settings = {}
        if (lr_mult := _first(lr_mults)) is not None:
            settings["lr"] = self._scaled_lr(lr_mult)
        # Without a `weight_decay` MMEngine skips these rules.
        if (decay_mult := _first(decay_mults)) is not None and self.base_wd is not None:
            settings["weight_decay"] = self.base_wd * decay_mult
        return settings

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer over the model's parameters, and the wrapper around it.

        Of a wrapped model (DDP) the wrapped one is taken.
        """
        # By name, as in MMEngine: of a model with a child called `module` only that child is trained.
        model = getattr(model, "module", model)
        optim_wrapper_cfg = self.optim_wrapper_cfg.copy()
        optim_wrapper_cfg.setdefault("type", "OptimWrapper")
        params: Any = model.parameters()
        if self.paramwise_cfg:
            params = []
            self.add_params(params, model)
            # A subclass may have options of its own.
            if type(self) is DefaultOptimWrapperConstructor:
                self._say(functools.partial(self._warn_of_the_unused, model))
        optimizer_cfg = {**self.optimizer_cfg, self._first_argument(): params}
        given = ", ".join(f"{key}={value!r}" for key, value in self.optimizer_cfg.items())
        with refused_values(f"optim_wrapper.optimizer=dict({given})"):
            optimizer = OPTIMIZERS.build(optimizer_cfg)
        return OPTIM_WRAPPERS.build(optim_wrapper_cfg, default_args={"optimizer": optimizer})

    def _first_argument(self) -> str:
        """Return what the optimizer calls its parameters; usually ``params``."""
        optimizer = self.optimizer_cfg["type"]
        if isinstance(optimizer, str):
            # The default scope, in which the optimizer is built below.
            with OPTIMIZERS.switch_scope_and_registry(None) as registry:
                optimizer = registry.get(optimizer)
        if optimizer is None:
            return "params"  # building it will say what is wrong
        # By position, as in MMEngine: an optimizer of the user's own may have another name for it.
        return next(iter(inspect.signature(optimizer).parameters))

    def _say(self, warn: Callable[[], None]) -> None:
        unsaid = _UNSAID.get()
        if unsaid is None:
            warn()
        else:
            unsaid.append(warn)

    def _warn_of_the_unused(self, model: nn.Module) -> None:
        """Warn of options that have no effect; MMEngine 0.10.7 ignores them silently."""
        for option in self.paramwise_cfg:
            if option not in OPTIONS:
                _warn(
                    f"paramwise_cfg: {option!r} is not an option of DefaultOptimWrapperConstructor and "
                    f"has no effect.{did_you_mean(closest(option, OPTIONS))}"
                )
        # With the dot in front, as `add_params` matches it.
        names = [f".{name}" if "." not in name else name for name, _ in model.named_parameters()]
        for key, custom in self.paramwise_cfg.get("custom_keys", {}).items():
            for entry in custom:
                if meant := misspelt(entry, _MULTS):
                    _warn(
                        f"paramwise_cfg: {entry!r} of custom key {key!r} multiplies nothing."
                        f"{did_you_mean([meant])}"
                    )
            if not any(key in name for name in names):
                _warn(
                    f"paramwise_cfg: custom key {key!r} occurs in the name of no parameter and has "
                    f"no effect.{did_you_mean(closest(key.strip('.'), _parts(names)))}"
                )


def _first(rules: Iterable[tuple[Any, float | None]]) -> float | None:
    """Return the multiplier of the first rule that applies and is configured."""
    return next((mult for applies, mult in rules if applies and mult is not None), None)


def _is_depthwise(module: Any) -> bool:
    # MMEngine's rule: a common convolution of one channel counts too.
    return module.in_channels == module.groups


def _is_dcn(module: nn.Module) -> bool:
    """Return whether ``module`` is one of mmcv's deformable convolutions, without importing mmcv."""
    # Importing mmcv.ops loads its compiled extension, which most models do not need.
    return any(
        c.__name__ in _DCN and c.__module__.startswith("mmcv.") for c in type(module).__mro__
    )


def _parts(names: Iterable[str]) -> list[str]:
    """Return all runs of path components: 'a.b.c' → a, a.b, a.b.c, b, b.c, c."""
    parts: dict[str, None] = {}
    for name in names:
        path = name.strip(".").split(".")
        for start in range(len(path)):
            for stop in range(start + 1, len(path) + 1):
                parts[".".join(path[start:stop])] = None
    return list(parts)


def _warn(message: str) -> None:
    print_log(message, logger="current", level=logging.WARNING)
