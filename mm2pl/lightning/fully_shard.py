"""FSDP2, torch's ``fully_shard``, with what a config can say of it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import nn
from torch.distributed.constants import default_pg_timeout
from torch.distributed.fsdp import CPUOffloadPolicy, FSDPModule, MixedPrecisionPolicy, fully_shard

from mm2pl.dist import broadcast
from mm2pl.errors import ArgumentError
from mm2pl.lightning.ddp import as_timedelta
from mm2pl.lightning.private import let_device_choose_backend, shard_over
from mm2pl.model import turn_on_activation_checkpointing
from mm2pl.model.meta import give_memory
from mm2pl.model.wrappers.fully_sharded_distributed import _dtype, _function

if TYPE_CHECKING:
    from collections.abc import Callable


class MMModelParallelStrategy(ModelParallelStrategy):
    """Shard a model as ``strategy=dict(type="FSDP2")`` says: parameters, gradients and the optimizer's states.

    Lightning's strategy leaves that to a ``configure_model`` of the user's, which still takes its place. All processes
    share one copy of the model. A CPU will do, with gloo.

    Args:
        auto_wrap_policy: Which modules are gathered one at a time, as for FSDPStrategy: a function of the registry by
            name, ``dict(type=…)`` with its arguments, or torch's own. Without it the model is gathered as a whole.
        mixed_precision: ``dict(param_dtype="bfloat16", reduce_dtype="float32", output_dtype=…,
            cast_forward_inputs=…)``.
        cpu_offload: Keep parameters, gradients and the optimizer's states on the CPU.
        reshard_after_forward: Free gathered parameters until the backward pass; a number: keep
            them whole in each group of so many processes.
        activation_checkpointing: ``dict(check_fn=…)``: which modules, as ``auto_wrap_policy`` a function by name.
        save_distributed_checkpoint: Write a folder with a part from each process, instead of one file.
        meta_init: Build and initialise a config's model in the first process only, on its CPU; the others have its
            shapes, on the meta device, until each gets its part. ``load_from`` is still read by all.
        timeout: The longest wait for another process, as in :class:`~mm2pl.lightning.ddp.MMDDPStrategy`.
        process_group_backend: ``"nccl"``, ``"gloo"``; ``None``: by the device.

    Raises:
        TypeError: An argument is none of what is accepted.
        ValueError: A function is not registered.
    """

    def __init__(
        self,
        auto_wrap_policy: Any = None,
        mixed_precision: Any = None,
        cpu_offload: bool = False,
        reshard_after_forward: bool | int | None = None,
        activation_checkpointing: Any = None,
        save_distributed_checkpoint: bool = False,
        meta_init: bool = False,
        timeout: float | timedelta = default_pg_timeout,
        process_group_backend: str | None = None,
    ) -> None:
        super().__init__(
            tensor_parallel_size=1,
            save_distributed_checkpoint=save_distributed_checkpoint,
            timeout=as_timedelta(timeout),
            process_group_backend=process_group_backend,
        )
        for name, flag in {"cpu_offload": cpu_offload, "meta_init": meta_init}.items():
            if not isinstance(flag, bool):  # older FSDP's dict would say yes with a no in it
                raise ArgumentError(f"{name}={flag!r} → True or False")
        self.meta_init = meta_init
        if not isinstance(reshard_after_forward, int | None):
            raise ArgumentError(
                f"reshard_after_forward={reshard_after_forward!r} → True, False, or a number of processes"
            )
        self._policy = _function(auto_wrap_policy, "auto_wrap_policy")
        self._recomputed = checked_modules(activation_checkpointing)
        self._options: dict[str, Any] = {"mp_policy": _precision(mixed_precision)}
        if cpu_offload:
            self._options["offload_policy"] = CPUOffloadPolicy()
        if reshard_after_forward is not None:
            self._options["reshard_after_forward"] = reshard_after_forward

    def setup_environment(self) -> None:
        """Join the other processes."""
        if self.process_group_backend == "nccl" and self.root_device.type == "cpu":
            let_device_choose_backend(self)
        shard_over(self, self.num_nodes * self.num_processes)
        super().setup_environment()
        module: Any = self.lightning_module
        if hasattr(module, "model") and not is_overridden("configure_model", module):
            # Not a method of every module: Lightning 2.6 warns of one wherever weights are averaged.
            module.configure_model = functools.partial(self.shard, module.model)

    def teardown(self) -> None:
        """End, and let another strategy have the module."""
        vars(self.lightning_module).pop("configure_model", None)
        super().teardown()

    def shard(self, model: nn.Module) -> None:
        """Let each process keep its part of the first one's model; nothing if that is done already."""
        if isinstance(model, FSDPModule):
            return
        for buffer in model.buffers():
            broadcast(buffer)
        mesh = self.device_mesh["data_parallel"]
        if self._recomputed:
            names = [name for name, part in model.named_modules() if self._recomputed(part)]
            turn_on_activation_checkpointing(model, names)
        if self._policy:
            # A part comes after the parts within it: what those have taken is not its own any more.
            for part in reversed([*model.modules()][1:]):
                own = sum(parameter.numel() for parameter in _own(part))
                if own and self._policy(module=part, recurse=False, nonwrapped_numel=own):
                    self._share(part)
                    fully_shard(part, mesh=mesh, **self._options)
        self._share(model)
        fully_shard(model, mesh=mesh, **self._options)

    def _share(self, part: nn.Module) -> None:
        """Give a part the first process's weights just before it is sharded, so that no more are whole at a time."""
        for parameter in _own(part):
            if parameter.is_meta:
                give_memory(parameter, self.root_device)
            # As DDP does: with diff_rank_seed each process has made weights of its own.
            broadcast(parameter.detach())


def _own(part: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that no part within it has taken."""
    return [p for p in part.parameters() if not hasattr(p, "device_mesh")]


def checked_modules(config: object) -> Callable[[nn.Module], bool] | None:
    """Return the function of MMEngine's ``activation_checkpointing=dict(check_fn=…)``.

    Raises:
        TypeError: ``config`` is neither None nor such a dict.
    """
    if config is None:
        return None
    if not isinstance(config, Mapping) or set(config) != {"check_fn"}:
        raise ArgumentError(
            f"activation_checkpointing={config!r} → dict(check_fn=…), a function of a module"
        )
    return _function(config["check_fn"], "check_fn")


_DTYPES = ("param_dtype", "reduce_dtype", "output_dtype")


def _precision(value: object) -> MixedPrecisionPolicy:
    if value is None:
        return MixedPrecisionPolicy()
    if isinstance(value, MixedPrecisionPolicy):
        return value
    accepted = (*_DTYPES, "cast_forward_inputs")
    if not isinstance(value, Mapping) or not set(value) <= set(accepted):
        raise ArgumentError(f"mixed_precision={value!r} → a dict with some of {list(accepted)}")
    options: dict[str, Any] = {k: _dtype(v) if k in _DTYPES else v for k, v in value.items()}
    return MixedPrecisionPolicy(**options)
