"""FSDP with the arguments of MMEngine's strategy."""

from __future__ import annotations

import functools
from datetime import timedelta
from typing import Any

from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.constants import default_pg_timeout
from torch.distributed.fsdp import BackwardPrefetch, FullyShardedDataParallel
from torch.distributed.fsdp.wrap import lambda_auto_wrap_policy

from mm2pl.errors import ArgumentError
from mm2pl.lightning.ddp import as_timedelta
from mm2pl.lightning.fully_shard import checked_modules
from mm2pl.model.wrappers.fully_sharded_distributed import _function, _member, _precision


class MMFSDPStrategy(FSDPStrategy):
    """Shard a model as ``strategy=dict(type="FSDPStrategy")`` or a ``MMFullyShardedDataParallel`` wrapper says.

    Checkpoints hold the whole model in one file, also with ``state_dict_cfg="local"``. The original
    parameters are kept, since the optimizer has been built before the model is wrapped.

    Args:
        auto_wrap_policy: A function of the registry by name, ``dict(type=…)`` with its arguments, or torch's own.
        backward_prefetch: ``"BACKWARD_PRE"`` or ``"BACKWARD_POST"``.
        mixed_precision: ``dict(param_dtype="float16", reduce_dtype=…, buffer_dtype=…)``.
        param_init_fn: As ``auto_wrap_policy``.
        activation_checkpointing: ``dict(check_fn=…)``: which modules, as ``auto_wrap_policy``.
        state_dict_cfg: ``"full"``, ``"local"`` or a dict; accepted, see above.
        skip_init_weights: Not accepted.
        timeout: The longest wait for another process, as in :class:`~mm2pl.lightning.ddp.MMDDPStrategy`.
        kwargs: Lightning's and torch's arguments: ``sharding_strategy``, ``cpu_offload``, ``sync_module_states``, …

    Raises:
        TypeError: An argument is none of what is accepted.
        ValueError: A function is not registered, or the optimizer would not find its parameters.
    """

    hands_on_to = (FSDPStrategy, FullyShardedDataParallel)
    """Who takes the other arguments."""

    def __init__(
        self,
        auto_wrap_policy: Any = None,
        backward_prefetch: Any = None,
        mixed_precision: Any = None,
        param_init_fn: Any = None,
        activation_checkpointing: Any = None,
        state_dict_cfg: Any = None,
        skip_init_weights: bool = False,
        timeout: float | timedelta = default_pg_timeout,
        **kwargs: Any,
    ) -> None:
        if skip_init_weights:
            raise ArgumentError(
                "strategy has skip_init_weights=True → not supported; give the model no init_cfg"
            )
        # torch 2.13's own default is False; Lightning 2.6 sets True as well.
        if kwargs.setdefault("use_orig_params", True) is not True:
            raise ArgumentError(
                "use_orig_params=False → True: the optimizer is built before the model is wrapped"
            )
        check = checked_modules(activation_checkpointing)
        named = {
            "auto_wrap_policy": _function(auto_wrap_policy, "auto_wrap_policy"),
            "backward_prefetch": _member(backward_prefetch, BackwardPrefetch, "backward_prefetch"),
            "mixed_precision": _precision(mixed_precision),
            "param_init_fn": _function(param_init_fn, "param_init_fn"),
            "activation_checkpointing_policy": check
            and functools.partial(lambda_auto_wrap_policy, lambda_fn=check),
        }
        given = {name: value for name, value in named.items() if value is not None}
        super().__init__(**given, timeout=as_timedelta(timeout), **kwargs)

    def setup_environment(self) -> None:
        """Join the other processes.

        Raises:
            ValueError: There is no device to shard on.
        """
        if self.root_device.type == "cpu":
            raise ArgumentError(
                "strategy FSDPStrategy on a CPU → torch's FSDP needs an accelerator; use DDPStrategy"
            )
        super().setup_environment()
