"""Build optimizer wrappers, and scale their learning rate to the batch size."""

from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mm2pl.closest import closest
from mm2pl.errors import ArgumentError, StateError
from mm2pl.logging import print_log
from mm2pl.optim.abilities import is_optim_wrapper, wrappers_of
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper
from mm2pl.optim.optimizer.optimizer_wrapper_dict import OptimWrapperDict
from mm2pl.registry import OPTIM_WRAPPER_CONSTRUCTORS as OPTIM_WRAPPER_CONSTRUCTORS
from mm2pl.registry import OPTIM_WRAPPERS
from mm2pl.registry import OPTIMIZERS as OPTIMIZERS
from mm2pl.registry.located import locations
from mm2pl.registry.torch_optimizers import TORCH_OPTIMIZERS as TORCH_OPTIMIZERS


def build_optim_wrapper(model: nn.Module, cfg: Any) -> OptimWrapper:
    """Build an optimizer wrapper over a model's parameters; stands for MMEngine's function.

    Args:
        model: Whose parameters are optimized.
        cfg: ``optimizer``, ``type``, the wrapper's arguments, ``paramwise_cfg`` and
            ``constructor`` (default ``'DefaultOptimWrapperConstructor'``); not changed.

    Example:
        >>> cfg = dict(optimizer=dict(type="SGD", lr=0.01))
        >>> build_optim_wrapper(nn.Linear(1, 1), cfg).get_lr()
        {'lr': [0.01]}
    """
    # The keys are popped here and by the constructor; the config is dumped later.
    optim_wrapper_cfg = copy.deepcopy(cfg)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        {
            "type": optim_wrapper_cfg.pop("constructor", "DefaultOptimWrapperConstructor"),
            "paramwise_cfg": optim_wrapper_cfg.pop("paramwise_cfg", None),
            "optim_wrapper_cfg": optim_wrapper_cfg,
        }
    )
    return constructor(model)


def as_optim_wrapper(model: nn.Module, value: object) -> OptimWrapper:
    """Return the optimizer wrapper that a Runner's ``optim_wrapper`` argument means.

    Stands for `mmengine.runner.Runner.build_optim_wrapper`.

    Args:
        model: Whose parameters are optimized.
        value: A wrapper, of MMEngine's own classes too; a config; a config whose ``optimizer`` is
            built already; or a dict of built wrappers.

    Raises:
        TypeError: It is none of these.
        ValueError: A dict with neither ``optimizer`` nor ``constructor`` holds anything but
            wrappers.
    """
    if is_optim_wrapper(value):
        return value  # type: ignore[return-value]
    # A Config, ours or MMEngine's, is not a dict and keeps one there.
    value = getattr(value, "_cfg_dict", value)
    if not isinstance(value, dict):
        raise ArgumentError(
            f"the optimizer wrapper should be an OptimWrapper or a dict, but got {value!r}"
        )
    optimizer = value.get("optimizer")
    # No constructor: it would build the optimizer, and there is one.
    if isinstance(optimizer, Optimizer):
        return OPTIM_WRAPPERS.build({"type": "OptimWrapper", **value})
    # A constructor of several optimizers needs no `optimizer` key; GANs name theirs freely.
    if optimizer is not None or "constructor" in value:
        return build_optim_wrapper(model, value)
    unbuilt = [name for name, wrapper in value.items() if not is_optim_wrapper(wrapper)]
    if unbuilt:
        close = closest("optimizer", unbuilt, 1)
        hint = f" Or is {close[0]!r} a misspelt 'optimizer'?" if close else ""
        if "lr" in value:
            hint = " If this is the optimizer itself, it belongs one level down: optim_wrapper=dict(optimizer=dict(…))"
        # As MMEngine 0.10.7 writes it: its issues are found by these words.
        raise ArgumentError(
            "optim_wrapper has neither 'optimizer' nor 'constructor', so that each item mush be an optimizer object, "
            f"an OptimWrapper, but {unbuilt} are not → for several optimizers give a constructor.{hint}"
        )
    return OptimWrapperDict(**value)


def scale_lr(
    optim_wrapper: OptimWrapper, auto_scale_lr: dict[str, Any] | None, real_batch_size: int
) -> float:
    """Scale every learning rate with the total batch size, if ``auto_scale_lr`` is enabled.

    To be called before the schedulers are built. The ``base_lr`` of several groups stays, as in
    MMEngine 0.10.7.

    Args:
        optim_wrapper: Changed in place.
        auto_scale_lr: ``dict(enable=…, base_batch_size=…)`` or None.
        real_batch_size: Samples per iteration on all devices together.

    Returns:
        The factor, 1.0 if nothing was scaled.

    Raises:
        ArgumentError: There is no ``base_batch_size``.
        RuntimeError: Schedulers have noted the learning rate already.
    """
    if not (auto_scale_lr or {}).get("enable", False):
        return 1.0
    assert auto_scale_lr is not None
    if "base_batch_size" not in auto_scale_lr:
        raise ArgumentError(f"auto_scale_lr={auto_scale_lr!r} lacks `base_batch_size`.")
    base_batch_size = auto_scale_lr["base_batch_size"]
    ratio = float(real_batch_size) / float(base_batch_size)
    print_log(
        f"LR is set based on batch size of {base_batch_size} and the current batch size is "
        f"{real_batch_size}. Scaling the original LR by {ratio}.",
        logger="current",
    )
    for wrapper in wrappers_of(optim_wrapper).values():
        # Not `wrapper.param_groups`: those include `base_param_settings`.
        for group in wrapper.optimizer.param_groups:
            # MMEngine 0.10.7 asks the runner's schedulers instead; this function has no runner.
            if "initial_lr" in group:
                raise StateError(
                    "scale_lr must be called before schedulers are built: they have noted the "
                    "learning rate already."
                )
            group["lr"] = group["lr"] * ratio
    return ratio


_PACKAGES = {
    "BITSANDBYTES_OPTIMIZERS": "bitsandbytes",
    "DADAPTATION_OPTIMIZERS": "dadaptation",
    "LION_OPTIMIZERS": "lion_pytorch",
    "TRANSFORMERS_OPTIMIZERS": "transformers",
}


def __getattr__(name: str) -> list[str]:
    # MMEngine's lists of the optimizers that each package brings, if it is installed.
    if name not in _PACKAGES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    package = _PACKAGES[name]
    paths = locations().BY_NAME["optimizer"].items() if find_spec(package) else ()
    return [kind for kind, path in paths if path.partition(".")[0] == package]
