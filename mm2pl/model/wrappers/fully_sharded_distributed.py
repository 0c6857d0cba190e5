"""One model in several processes, each holding a part; importing `torch.distributed.fsdp` takes a second."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.distributed.fsdp import (
    BackwardPrefetch,
    CPUOffload,
    FullyShardedDataParallel,
    MixedPrecision,
    ShardingStrategy,
)

from mm2pl.errors import ArgumentError
from mm2pl.model.forward import run_forward
from mm2pl.registry import FUNCTIONS, MODEL_WRAPPERS

if TYPE_CHECKING:
    from torch.distributed import ProcessGroup

    from mm2pl.optim import OptimWrapper


@MODEL_WRAPPERS.register_module()
class MMFullyShardedDataParallel(FullyShardedDataParallel):
    """`FullyShardedDataParallel` with arguments that a config can hold; stands for MMEngine's class of that name.

    Under Lightning the strategy wraps the model and this class only gives a ``model_wrapper_cfg`` its name.

    Args:
        module: The model.
        process_group: See `FullyShardedDataParallel`.
        sharding_strategy: Or the name of one, such as ``"FULL_SHARD"``.
        cpu_offload: Or a bool.
        auto_wrap_policy: Or the name of a registered function.
        backward_prefetch: Or a name: ``"BACKWARD_PRE"``, ``"BACKWARD_POST"``.
        mixed_precision: Or a dict of dtypes (or their names): ``dict(param_dtype="float16")``.
        param_init_fn: Or the name of a registered function, or a dict with ``type`` and further arguments.
        use_orig_params: True here, as optimizers are built from the model's own parameters.
        **kwargs: For `FullyShardedDataParallel`; ``ignored_modules`` and ``ignored_parameters`` may be names.
    """

    module: Any  # the wrapped model, with its preprocessor and its losses

    def __init__(
        self,
        module: nn.Module,
        process_group: ProcessGroup | None = None,
        sharding_strategy: ShardingStrategy | str | None = None,
        cpu_offload: CPUOffload | bool | None = None,
        auto_wrap_policy: Callable[..., Any] | str | None = None,
        backward_prefetch: BackwardPrefetch | str | None = None,
        mixed_precision: MixedPrecision | dict | None = None,
        param_init_fn: Callable[..., Any] | str | dict | None = None,
        use_orig_params: bool = True,
        **kwargs: Any,
    ) -> None:
        offload = CPUOffload(cpu_offload) if isinstance(cpu_offload, bool) else cpu_offload
        for name, known in (
            ("ignored_parameters", module.named_parameters),
            ("ignored_modules", module.named_modules),
        ):
            # Only if given: FullyShardedDataParallel of torch 2.13
            # has `ignored_states` instead of `ignored_parameters`.
            if name in kwargs:
                kwargs[name] = _by_name(kwargs[name], dict(known()), name)
        super().__init__(
            module=module,
            process_group=process_group,
            sharding_strategy=_member(sharding_strategy, ShardingStrategy, "sharding_strategy"),
            cpu_offload=_checked(offload, CPUOffload, "cpu_offload", "a bool"),
            auto_wrap_policy=_function(auto_wrap_policy, "auto_wrap_policy"),
            backward_prefetch=_member(backward_prefetch, BackwardPrefetch, "backward_prefetch"),
            mixed_precision=_precision(mixed_precision),
            param_init_fn=_function(param_init_fn, "param_init_fn"),
            use_orig_params=use_orig_params,
            **kwargs,
        )

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Update the parameters with one batch."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, True)
            losses = self._run_forward(data, mode="loss")
        loss, log_vars = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars

    def val_step(self, data: Any) -> Any:
        """Return the predictions for one batch, by way of the wrapper, which gathers the parameters."""
        return self._run_forward(self.module.data_preprocessor(data, False), mode="predict")

    def test_step(self, data: Any) -> Any:
        """Return the predictions for one batch, by way of the wrapper, which gathers the parameters."""
        return self._run_forward(self.module.data_preprocessor(data, False), mode="predict")

    def _run_forward(self, data: Any, mode: str) -> Any:
        return run_forward(self.module, data, mode, wrapper=self)


def _checked(value: object, kind: type, argument: str, also: str) -> Any:
    if value is None or isinstance(value, kind):
        return value
    raise ArgumentError(f"{argument}={value!r}: None, {also} or a {kind.__name__} is accepted")


def _member(value: object, kind: type[Enum], argument: str) -> Any:
    """Return the member of an enumeration that ``value`` is or names."""
    names = [member.name for member in kind]
    if isinstance(value, str) and value in names:
        return kind[value]
    return _checked(value, kind, argument, f"one of {names}")


def _function(value: object, argument: str) -> Any:
    """Return the function that ``value`` is or names, with the other entries of a dict bound."""
    if isinstance(value, dict):
        # MMEngine 0.10.7 pops `type` from the config itself, and looks up no name in a dict for `param_init_fn`.
        kwargs = dict(value)
        return functools.partial(_function(kwargs.pop("type"), argument), **kwargs)
    if isinstance(value, str):
        found = FUNCTIONS.get(value)
        if found is None:
            raise ArgumentError(f"{argument}={value!r} is not registered: register it in FUNCTIONS")
        return found
    if value is None or callable(value):
        return value
    raise ArgumentError(f"{argument}={value!r}: a str, a callable, a dict or None is accepted")


def _precision(value: MixedPrecision | dict | None) -> MixedPrecision | None:
    if not isinstance(value, dict):
        return _checked(value, MixedPrecision, "mixed_precision", "a dict")
    dtypes = ("param_dtype", "reduce_dtype", "buffer_dtype")
    options: dict[str, Any] = {k: _dtype(v) if k in dtypes else v for k, v in value.items()}
    return MixedPrecision(**options)


# None stays None: MixedPrecision then leaves that part in the model's own dtype.
def _dtype(value: Any) -> torch.dtype | None:
    found = getattr(torch, value, None) if isinstance(value, str) else value
    if (found is None and value is not None) or not isinstance(found, (torch.dtype, type(None))):
        raise ArgumentError(f"dtype {value!r}: None, a torch.dtype or the name of one is accepted")
    return found


def _by_name(given: Iterable[Any] | None, known: dict[str, Any], argument: str) -> list[Any] | None:
    """Return parameters or modules; some may be given by name."""
    if given is None:
        return None
    given = list(given)
    unknown = [name for name in given if isinstance(name, str) and name not in known]
    if unknown:
        raise ArgumentError(
            f"{argument} names {unknown}, which the model does not have: {list(known)}"
        )
    return [known[one] if isinstance(one, str) else one for one in given]
