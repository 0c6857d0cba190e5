"""The hooks that step the optimizer, after each training iteration."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.runner.builder import HOOKS
from mm2pl.mmcv.runner.fp16_utils import wrap_fp16_model
from mm2pl.mmcv.runner.hooks.hook import Hook
from mm2pl.utils.dl_utils import has_batch_norm

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


@HOOKS.register_module()
class OptimizerHook(Hook):
    """Run backward, clip and step; stands for `mmcv.runner.OptimizerHook`.

    Args:
        grad_clip: Arguments of ``clip_grad_norm_``, such as ``max_norm``.
        detect_anomalous_params: Log each parameter that the loss does not depend on; slow.
    """

    def __init__(
        self, grad_clip: dict[str, Any] | None = None, detect_anomalous_params: bool = False
    ) -> None:
        self.grad_clip = grad_clip
        self.detect_anomalous_params = detect_anomalous_params

    def clip_grads(self, params: Iterable[nn.Parameter]) -> torch.Tensor | None:
        """Clip the gradients that there are; return their norm before."""
        # Frozen layers and unused branches have no gradient. An empty
        # list would make `clip_grad_norm_` return 0 and log it.
        params = [p for p in params if p.requires_grad and p.grad is not None]
        if not params or self.grad_clip is None:
            return None
        return nn.utils.clip_grad_norm_(params, **self.grad_clip)

    def _clip_and_log(self, runner: BaseRunner) -> None:
        norm = self.clip_grads(runner.model.parameters())
        if norm is not None:
            # MMCV 1.7.2 logs the norm before clipping, weighted as the losses are.
            runner.log_buffer.update({"grad_norm": float(norm)}, runner.outputs["num_samples"])

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Take one step."""
        # MMCV 1.7.2 clears before backward, not after the step: hooks that follow still see the gradients.
        runner.optimizer.zero_grad()
        if self.detect_anomalous_params:
            self.detect_anomalous_parameters(runner.outputs["loss"], runner)
        runner.backward(runner.outputs["loss"])
        self._clip_and_log(runner)
        runner.optimizer.step()

    def detect_anomalous_parameters(self, loss: torch.Tensor, runner: BaseRunner) -> None:
        """Log an error for each parameter that is not in the graph of ``loss``."""
        seen, stack, used = set(), [loss.grad_fn], set()
        # MMCV 1.7.2 recurses here, which can exceed Python's limit in a deep model.
        while stack:
            node = stack.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            # Only AccumulateGrad nodes have `variable`: the parameters that backward reaches.
            used.add(id(getattr(node, "variable", None)))
            stack += [parent for parent, _ in node.next_functions]
        for name, parameter in runner.model.named_parameters():
            if parameter.requires_grad and id(parameter) not in used:
                message = (
                    f"{name} with shape {parameter.size()} is not in the computational graph \n"
                )
                runner.logger.log(level=logging.ERROR, msg=message)


@HOOKS.register_module()
class GradientCumulativeOptimizerHook(OptimizerHook):
    """Step every so many iterations; the last window of the run may be shorter.

    Args:
        cumulative_iters: Iterations per step; the loss of each is divided by it.
        kwargs: See `OptimizerHook`.

    Raises:
        ValueError: ``cumulative_iters`` is not a positive integer.
    """

    def __init__(self, cumulative_iters: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(cumulative_iters, int) or cumulative_iters <= 0:
            raise ArgumentError(
                f"cumulative_iters={cumulative_iters!r} must be a positive integer."
            )
        self.cumulative_iters = cumulative_iters
        self.divisible_iters = 0
        self.remainder_iters = 0
        # MMCV 1.7.2 waits for the first iteration: `max_iters` and a resumed `iter` are not known before.
        self.initialized = False

    def _init(self, runner: BaseRunner) -> None:
        if runner.iter % self.cumulative_iters:
            runner.logger.warning(
                "The run was resumed inside an accumulation window, whose earlier gradients are lost."
            )
        self.remainder_iters = runner.max_iters % self.cumulative_iters
        self.divisible_iters = runner.max_iters - self.remainder_iters
        self.initialized = True

    def has_batch_norm(self, module: nn.Module) -> bool:
        """Return whether a module has a BatchNorm, whose statistics are of single iterations."""
        return has_batch_norm(module)

    def _get_loss_factor(self, runner: BaseRunner) -> int:
        # Iterations after the last full window share the last step,
        # so MMCV 1.7.2 divides their loss by their number.
        last = runner.iter >= self.divisible_iters
        return self.remainder_iters if last else self.cumulative_iters

    def _loss(self, runner: BaseRunner) -> torch.Tensor:
        if not self.initialized:
            self._init(runner)
        return runner.outputs["loss"] / self._get_loss_factor(runner)

    def _steps_now(self, runner: BaseRunner) -> bool:
        return self.every_n_iters(runner, self.cumulative_iters) or self.is_last_iter(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Add the gradients, and step at the end of a window."""
        runner.backward(self._loss(runner))
        # Windows count over epoch ends, as in MMCV 1.7.2.
        if self._steps_now(runner):
            self._clip_and_log(runner)
            runner.optimizer.step()
            # After the step: clearing before backward, as OptimizerHook does, would lose the window's gradients.
            runner.optimizer.zero_grad()


@HOOKS.register_module()
class Fp16OptimizerHook(OptimizerHook):
    """Train in float16 with a scaled loss; the runner autocasts each iteration.

    Args:
        grad_clip: See `OptimizerHook`.
        coalesce: Unused.
        bucket_size_mb: Unused.
        loss_scale: A float for a static scale, ``'dynamic'``, or arguments of `torch.amp.GradScaler`.
        distributed: Unused.

    Raises:
        ValueError: ``loss_scale`` is of another kind.
    """

    def __init__(
        self,
        grad_clip: dict[str, Any] | None = None,
        coalesce: bool = True,
        bucket_size_mb: int = -1,
        loss_scale: float | str | dict[str, Any] = 512.0,
        distributed: bool = True,
    ) -> None:
        super().__init__(grad_clip)
        # GradScaler has no static mode. MMCV 1.7.2 sets the scale again after each step, which keeps it.
        self._scale_update_param: float | None = None
        if loss_scale == "dynamic":
            arguments: dict[str, Any] = {}
        # MMCV 1.7.2 refuses an int such as 512.
        elif isinstance(loss_scale, float):
            self._scale_update_param = loss_scale
            arguments = {"init_scale": loss_scale}
        elif isinstance(loss_scale, dict):
            arguments = loss_scale
        else:
            raise ArgumentError(f"loss_scale={loss_scale!r} must be a float, a dict or 'dynamic'.")
        # Without a GPU MMCV 1.7.2's scaler turns itself off with a warning. The run then goes on unscaled.
        self.loss_scaler = torch.amp.GradScaler(enabled=torch.cuda.is_available(), **arguments)

    def before_run(self, runner: BaseRunner) -> None:
        """Turn autocast on, and restore a resumed scale."""
        # Models read `fp16_enabled` to choose between two code paths.
        wrap_fp16_model(runner.model)
        runner.autocast_dtype = torch.float16
        # MMCV 1.7.2 keeps the scaler in the meta, not in the optimizer's part of the file.
        state = ((runner.meta or {}).get("fp16") or {}).get("loss_scaler")
        if state and self.loss_scaler.is_enabled():
            self.loss_scaler.load_state_dict(state)

    def copy_grads_to_fp32(self, fp16_net: nn.Module, fp32_weights: Iterable[torch.Tensor]) -> None:
        """Give each of ``fp32_weights`` the gradient of the model's parameter in its place, in its own precision.

        For hooks that keep weights of their own. One whose parameter has no gradient keeps what it has.
        """
        for weight, parameter in zip(fp32_weights, fp16_net.parameters(), strict=True):
            if (gradient := parameter.grad) is None:
                continue
            # In place where there is one: MMCV 1.7.2's tensors stay the same objects, which a hook may hold.
            if weight.grad is None:
                weight.grad = gradient.detach().to(weight, copy=True)
            else:
                weight.grad.copy_(gradient)

    @torch.no_grad()
    def copy_params_to_fp16(
        self, fp16_net: nn.Module, fp32_weights: Iterable[torch.Tensor]
    ) -> None:
        """Give the model's parameters the values of ``fp32_weights``."""
        for parameter, weight in zip(fp16_net.parameters(), fp32_weights, strict=True):
            parameter.copy_(weight)

    def _step(self, runner: BaseRunner) -> None:
        self.loss_scaler.unscale_(runner.optimizer)
        # After unscaling: `max_norm` is meant for the true gradients.
        self._clip_and_log(runner)
        self.loss_scaler.step(runner.optimizer)
        self.loss_scaler.update(self._scale_update_param)
        # MMCV 1.7.2 fails here for a runner without meta.
        if runner.meta is not None:
            runner.meta.setdefault("fp16", {})["loss_scaler"] = self.loss_scaler.state_dict()

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Take one step with a scaled loss."""
        # Both, as in MMCV 1.7.2: parameters that no optimizer has would
        # add up gradients, and clipping counts those too.
        runner.model.zero_grad()
        runner.optimizer.zero_grad()
        runner.backward(self.loss_scaler.scale(runner.outputs["loss"]))
        self._step(runner)


# The order of the bases is MMCV 1.7.2's: `super().__init__` passes `loss_scale` on to Fp16OptimizerHook.
@HOOKS.register_module()
class GradientCumulativeFp16OptimizerHook(GradientCumulativeOptimizerHook, Fp16OptimizerHook):
    """Accumulate in float16; see `GradientCumulativeOptimizerHook` and `Fp16OptimizerHook`."""

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Add the scaled gradients, and step at the end of a window."""
        runner.backward(self.loss_scaler.scale(self._loss(runner)))
        if self._steps_now(runner):
            self._step(runner)
            runner.model.zero_grad()
            runner.optimizer.zero_grad()
