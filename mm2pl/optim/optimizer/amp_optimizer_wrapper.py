"""The optimizer wrapper for automatic mixed precision."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log
from mm2pl.optim.optimizer.autocast import accelerator, autocast
from mm2pl.optim.optimizer.optimizer_wrapper import OptimWrapper
from mm2pl.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class AmpOptimWrapper(OptimWrapper):
    """Cast the forward pass and scale the loss; stands for `mmengine.optim.AmpOptimWrapper`.

    On a CPU, where MMEngine refuses to run, it casts to bfloat16.

    Args:
        loss_scale: ``'dynamic'``; a number: a scale that never changes; or a dict of
            `torch.amp.GradScaler` arguments.
        dtype: ``'float16'``, ``'bfloat16'``, ``'float32'``, ``'float64'`` or the torch dtype;
            default: the device's, float16 on an accelerator and bfloat16 on a CPU.
        use_fsdp: Scale with FSDP's sharded scaler.
        **kwargs: As of `OptimWrapper`, ``optimizer`` included.

    Raises:
        RuntimeError: ``dtype`` is float16, and there is no accelerator.
    """

    valid_dtypes = ("float16", "bfloat16", "float32", "float64")

    def __init__(
        self,
        loss_scale: str | float | dict[str, Any] = "dynamic",
        dtype: str | torch.dtype | None = None,
        use_fsdp: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cast_dtype = self._parse_dtype(dtype)
        # torch.amp's GradScaler takes the device; MMEngine 0.10.7 imports another class for each.
        device = accelerator()
        if device == "cpu":
            self._check_cpu()
        self._scale_update_param: float | None = None
        arguments: dict[str, Any] = {}
        if isinstance(loss_scale, dict):
            arguments = loss_scale
        # MMEngine 0.10.7 refuses 512 and takes 512.0. A bool is an int in Python.
        elif isinstance(loss_scale, int | float) and not isinstance(loss_scale, bool):
            self._scale_update_param = float(loss_scale)
            # GradScaler.update takes a new scale only as a float.
            arguments = {"init_scale": float(loss_scale)}
        elif loss_scale != "dynamic":
            raise ArgumentError(
                f"loss_scale={loss_scale!r} must be 'dynamic', a number or a dict of GradScaler "
                "arguments."
            )
        self.loss_scaler = _make_scaler(device, use_fsdp, arguments)

    def _parse_dtype(self, dtype: str | torch.dtype | None) -> torch.dtype | None:
        if isinstance(dtype, str) and dtype in self.valid_dtypes:
            return getattr(torch, dtype)
        if dtype is None or isinstance(dtype, torch.dtype):
            return dtype
        raise ArgumentError(
            f"dtype={dtype!r} must be one of {self.valid_dtypes}, a torch.dtype or None."
        )

    def _check_cpu(self) -> None:
        if self.cast_dtype is None:
            print_log(
                "AmpOptimWrapper without an accelerator: casting to bfloat16, not to float16.",
                logger="current",
                level=logging.WARNING,
            )
        # Made only to refuse a wrong dtype now and not in the first iteration.
        autocast("cpu", self.cast_dtype)

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Add the gradients of the scaled ``loss`` and count the iteration."""
        self.executor.backward(self.loss_scaler.scale(loss), **kwargs)
        self._inner_count += 1

    def step(self, **kwargs: Any) -> None:
        """Clip the unscaled gradients if wanted, and step unless they are infinite."""
        if self.clip_grad_kwargs:
            # Clipping needs the true gradients. GradScaler.step notices that they are unscaled already.
            self.loss_scaler.unscale_(self.optimizer)
            self._clip_grad()
        self.executor.step(self.optimizer, scaler=self.loss_scaler, **kwargs)
        self.update_scale()

    def update_scale(self) -> None:
        """Grow or shrink the scale after a step; one given as a number stays."""
        # With a number GradScaler sets it back at each step, also after infinite gradients.
        self.loss_scaler.update(self._scale_update_param)

    def state_dict(self) -> dict[str, Any]:
        """Return the wrapper's state, with the scaler's as ``loss_scaler``."""
        return {**super().state_dict(), "loss_scaler": self.loss_scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned; without ``loss_scaler`` the scaler stays."""
        # MMEngine 0.10.7 pops from the caller's dict: a checkpoint that is loaded twice has lost its scaler.
        state_dict = dict(state_dict)
        # A disabled scaler saved {}, which GradScaler refuses to load.
        if scaler := state_dict.pop("loss_scaler", None):
            self.loss_scaler.load_state_dict(scaler)
        super().load_state_dict(state_dict)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Run the forward pass in here: cast, and without synchronising gradients too early."""
        # In MMEngine's order: no_sync outside, autocast inside.
        with super().optim_context(model), self.executor.autocast(self.cast_dtype):
            yield


def _make_scaler(device: str, use_fsdp: bool, arguments: dict[str, Any]) -> torch.amp.GradScaler:
    if use_fsdp:
        # Imported only here: torch.distributed.fsdp takes a second.
        from torch.distributed.fsdp.sharded_grad_scaler import ShardedGradScaler

        return ShardedGradScaler(device, **arguments)
    return torch.amp.GradScaler(device, **arguments)
