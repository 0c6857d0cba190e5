"""The optimizer wrapper: accumulation, clipping, and one iteration as one call."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mm2pl.checkpoint.kinds import REDUCIBLE, like, whole
from mm2pl.closest import closest, did_you_mean
from mm2pl.dist import get_world_size
from mm2pl.errors import ArgumentError
from mm2pl.logging import MessageHub, print_log
from mm2pl.optim.optimizer.base import BaseOptimWrapper
from mm2pl.optim.optimizer.executor import TorchExecutor
from mm2pl.registry import OPTIM_WRAPPERS

# One for all: it keeps no state, and is entered in each iteration.
_NOTHING = nullcontext()

_CLIPPERS: dict[str, tuple[Callable[..., Any], str]] = {
    "norm": (torch.nn.utils.clip_grad_norm_, "grad_norm"),
    "value": (torch.nn.utils.clip_grad_value_, "grad_value"),
}


@OPTIM_WRAPPERS.register_module()
class OptimWrapper(BaseOptimWrapper):
    """Update parameters, in windows of several iterations if wanted.

    Stands for `mmengine.optim.OptimWrapper`. Gradients are divided by the length of their window.
    Windows do not care about epochs; only after :meth:`initialize_count_status` the last one of the
    run may be shorter.

    Args:
        optimizer: The torch optimizer.
        accumulative_counts: Iterations per update, at least 1.
        clip_grad: Arguments of `torch.nn.utils.clip_grad_norm_` (``max_norm``, ``norm_type``,
            ``error_if_nonfinite``, …) or, with ``type='value'`` or just ``clip_value``, of
            `clip_grad_value_`. The total norm before clipping is noted in the MessageHub as
            ``train/grad_norm``, as a tensor on the parameters' device.

    Raises:
        AssertionError: ``accumulative_counts`` is below 1, or ``clip_grad`` is not a dict of arguments.
        ValueError: ``clip_grad`` has another ``type``.
        TypeError: ``clip_grad`` has arguments that its function does not take.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> optim_wrapper = OptimWrapper(sgd, accumulative_counts=2)
        >>> for x in torch.ones(4, 1):
        ...     with optim_wrapper.optim_context(model):
        ...         loss = model(x).square().sum()
        ...     optim_wrapper.update_params(loss)
        >>> optim_wrapper.inner_count
        4
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        accumulative_counts: int = 1,
        clip_grad: dict[str, Any] | None = None,
    ) -> None:
        if accumulative_counts < 1:
            raise ArgumentError(f"accumulative_counts={accumulative_counts!r} must be at least 1.")
        super().__init__(optimizer)
        self._accumulative_counts = accumulative_counts
        self.clip_grad_kwargs: dict[str, Any] | None = None
        if clip_grad is not None:
            self.clip_func, self.grad_name, self.clip_grad_kwargs = _parse_clip_grad(clip_grad)
        self.message_hub = MessageHub.get_current_instance()
        self.executor: Any = TorchExecutor()
        self._inner_count = 0
        # -1: the length of the run is unknown, so that there is no last window.
        self._max_counts = -1
        self._remainder_counts = -1
        self._window_restored = False

    def update_params(
        self,
        loss: torch.Tensor,
        step_kwargs: dict[str, Any] | None = None,
        zero_kwargs: dict[str, Any] | None = None,
    ) -> None:
        """Run backward on ``loss``; at the end of a window also step and zero_grad.

        Args:
            loss: Of this iteration, not divided by anything.
            step_kwargs: For `step`.
            zero_kwargs: For `zero_grad`.

        Raises:
            ValueError: ``loss`` is nothing to minimise.
        """
        # `scale_loss` comes first: `backward` counts the iteration, and the factor depends on the count.
        self.backward(self.scale_loss(require_loss(loss)))
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        """Add the gradients of ``loss`` and count the iteration."""
        self.executor.backward(loss, **kwargs)
        # After the backward: one that fails is not counted.
        self._inner_count += 1

    def zero_grad(self, **kwargs: Any) -> None:
        """Drop the gradients; ``kwargs`` go to `Optimizer.zero_grad`."""
        self.optimizer.zero_grad(**kwargs)

    def step(self, **kwargs: Any) -> None:
        """Clip the gradients if wanted, and step; ``kwargs`` go to `Optimizer.step`."""
        if self.clip_grad_kwargs:
            self._clip_grad()
        self.executor.step(self.optimizer, **kwargs)

    def optim_context(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Run the forward pass in here: no gradient is synchronised before the window's end.

        ``model`` is what the forward pass runs, inside its wrapper if it has one.
        """
        # Before the backward of this iteration: `should_sync` asks about the next count.
        return _NOTHING if self.should_sync() else self.executor.no_sync(model)

    def _clip_grad(self) -> None:
        params = [
            param
            for group in self.optimizer.param_groups
            for param in group["params"]
            if param.requires_grad and param.grad is not None
        ]
        if params:
            # MMEngine 0.10.7 notes float(grad), which waits for the GPU in every iteration.
            grad = self.clip_func(params, **(self.clip_grad_kwargs or {}))
            # `clip_grad_value_` returns None.
            if grad is not None:
                self.message_hub.update_scalar(f"train/{self.grad_name}", whole(grad))

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Note that ``init_counts`` of the run's ``max_counts`` iterations are done.

        A ``model`` with BatchNorms, which see single iterations, gets a warning if gradients are accumulated.

        If ``max_counts`` is not a multiple of the window, the run's last iterations are a shorter
        window, divided by its own length. A count that was restored stays: a model may update more than once per
        iteration.
        """
        if not self._window_restored:
            self._inner_count = init_counts
        self._max_counts = max_counts
        window = self._accumulative_counts
        # The last window is divided by its own length, as in MMEngine.
        self._remainder_counts = max_counts % window
        if init_counts % window and not self._window_restored:
            print_log(
                f"Resumed iteration number {init_counts} is inside an accumulation window of "
                f"{window}, and the checkpoint holds no gradients of that window: the next update "
                "lacks them.",
                logger="current",
                level=logging.WARNING,
            )
        self._window_restored = False
        if window > 1 and any(isinstance(module, _BatchNorm) for module in model.modules()):
            print_log(
                "Gradient accumulative may slightly decrease performance because the model has "
                "BatchNorm layers.",
                logger="current",
                level=logging.WARNING,
            )

    def should_update(self) -> bool:
        """Return whether the backward just made closed a window."""
        return self._closes_window(self._inner_count)

    def should_sync(self) -> bool:
        """Return whether the next backward will close a window."""
        return self._closes_window(self._inner_count + 1)

    def _closes_window(self, count: int) -> bool:
        # Counted from the start of the run: MMEngine's windows go on across epochs.
        return count % self._accumulative_counts == 0 or count == self._max_counts

    def scale_loss(self, loss: torch.Tensor) -> torch.Tensor:
        """Return ``loss`` divided by the length of the window it is in.

        Raises:
            ArgumentError: The run is longer than :meth:`initialize_count_status` was told.
        """
        length = self._accumulative_counts
        in_last = self._max_counts != -1 and (
            self._inner_count >= self._max_counts - self._remainder_counts
        )
        if length > 1 and in_last:
            length = self._remainder_counts
        # Zero where the run is a multiple of the window: only then is a call beyond its end noticed.
        if length <= 0:
            raise ArgumentError(
                f"iteration {self._inner_count} is beyond the {self._max_counts} that "
                "initialize_count_status announced: call it with the run's real length."
            )
        # A division by 1 gives the same bits, and costs a kernel and an autograd node.
        return loss if length == 1 else loss / length

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state, as MMEngine's wrapper does, and that of an open window.

        With accumulation there is a further key ``accumulation``: the iteration count and this process's gradients so
        far. Without, only if there are gradients that the next update will add to: those that a GAN's generator loss
        left in the discriminator. MMEngine ignores the key. In a file, ``grads`` are those of all processes, see
        :data:`mm2pl.checkpoint.kinds.OPTIMIZER`.
        """
        state_dict = super().state_dict()
        grads = self._grads()
        # Of several processes, another one may have some.
        if grads or self._accumulative_counts > 1 or get_world_size() > 1:
            state_dict["accumulation"] = {"inner_count": self._inner_count, "grads": [grads]}
        return state_dict

    def _grads(self) -> dict[str, torch.Tensor]:
        """Return all gradients by name, or nothing if they are all None or zero."""
        grads = {name: p.grad for name, p in self._named_params() if p.grad is not None}
        # Zeros count as nothing: `zero_grad(set_to_none=False)` leaves them.
        return grads if any(bool(grad.any()) for grad in grads.values()) else {}

    def _named_params(self) -> Iterator[tuple[str, torch.Tensor]]:
        # An optimizer knows its parameters by position only.
        for number, group in enumerate(self.optimizer.param_groups):
            yield from ((f"{number}.{i}", param) for i, param in enumerate(group["params"]))

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` or MMEngine's wrapper returned, of a file this process's part."""
        state_dict = dict(state_dict)
        accumulation = state_dict.pop("accumulation", None)
        super().load_state_dict(state_dict)
        self._window_restored = accumulation is not None
        if accumulation is None:
            return
        self._inner_count = accumulation["inner_count"]
        self._restore_grads(accumulation["grads"])

    def _restore_grads(self, windows: list[dict[str, torch.Tensor]]) -> None:
        processes = get_world_size()
        if len(windows) not in (1, processes) and any(windows):
            print_log(
                f"The open accumulation window holds the gradients of {len(windows)} processes, and {processes} go on: "
                "with their mean, so that the next update is no longer equal to the last bit.",
                logger="current",
                level=logging.WARNING,
            )
        grads = REDUCIBLE.restore(windows)
        for name, param in self._named_params() if grads else ():
            grad = grads.get(name)
            # A copy: backward adds in place, and the loaded state must not change.
            param.grad = None if grad is None else like(param, grad.to(param.device, copy=True))

    @property
    def inner_count(self) -> int:
        """Iterations so far (backwards, not updates)."""
        return self._inner_count

    def __repr__(self) -> str:
        return (
            f"Type: {type(self).__name__}\n"
            f"_accumulative_counts: {self._accumulative_counts}\n"
            f"optimizer: \n{self.optimizer!r}\n"
        )


def require_loss(loss: object) -> Any:
    """Return a loss to minimise; ``parse_losses`` gives the number 0 instead where the model returned none.

    Raises:
        ValueError: ``loss`` has no ``backward``.
    """
    # MMEngine fails in `backward`: an AttributeError of a float, since its parse_losses gave 0.
    if not hasattr(loss, "backward"):
        raise ArgumentError(
            f"loss={loss!r} is nothing to minimise → a tensor is needed → of what forward(mode='loss') returns, at "
            f"least one tensor must have 'loss' in its name"
        )
    return loss


def _parse_clip_grad(clip_grad: object) -> tuple[Callable[..., Any], str, dict[str, Any]]:
    """Return the function, the name of what it returns, and its arguments."""
    if not isinstance(clip_grad, dict) or not clip_grad:
        raise ArgumentError(
            "If `clip_grad` is not None, it must be a dict such as dict(max_norm=1) or "
            f"dict(clip_value=0.2), but got {clip_grad!r}."
        )
    # MMEngine 0.10.7 pops `type` from the caller's dict, and a second wrapper made of it would miss it.
    kwargs = dict(clip_grad)
    # MMEngine 0.10.7 takes `clip_value` without a type for the norm, and fails at the first step.
    kind = kwargs.pop("type", "value" if "clip_value" in kwargs else "norm")
    if kind not in _CLIPPERS:
        raise ArgumentError(f"clip_grad: type={kind!r} must be one of {list(_CLIPPERS)}.")
    if not kwargs:
        raise ArgumentError(f"clip_grad={clip_grad!r} lacks max_norm=... or clip_value=...")
    accepted = list(inspect.signature(_CLIPPERS[kind][0]).parameters)[1:]
    if unknown := [name for name in kwargs if name not in accepted]:
        hint = did_you_mean(match for name in unknown for match in closest(name, accepted, 1))
        raise ArgumentError(
            f"clip_grad={clip_grad!r}: {unknown} → type={kind!r} takes {', '.join(accepted)}.{hint}"
        )
    return (*_CLIPPERS[kind], kwargs)
