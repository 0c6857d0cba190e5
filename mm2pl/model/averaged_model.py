"""Averages of a model's weights over the course of a training."""

from __future__ import annotations

import logging
from abc import abstractmethod
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import Self

from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log
from mm2pl.registry import MODELS


class BaseAveragedModel(nn.Module):
    """Base of averaged models; stands for `mmengine.model.BaseAveragedModel`.

    The state dict holds the averaged model under ``module.`` and the number of updates as ``steps``. The first update
    copies the weights, every ``interval``-th after that averages them by :meth:`avg_func`.

    Args:
        model: Is copied.
        interval: Updates between two averages.
        device: Where the copy is kept; None: where ``model`` is.
        update_buffers: Average the floating-point buffers too (integer ones keep the value of the first update);
            otherwise all buffers are copied at every update.
    """

    steps: Tensor

    def __init__(
        self,
        model: nn.Module,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__()
        # The copy comes first: freezing without it would freeze the user's own model.
        self.module = deepcopy(model).requires_grad_(False)
        self.interval = interval
        if device is not None:
            self.module = self.module.to(device)
        # A buffer, not an int: MMEngine's state dict has the key `steps`, and either side loads the other's file.
        self.register_buffer("steps", torch.tensor(0, dtype=torch.long, device=device))
        self.update_buffers = update_buffers
        self._averaged: dict[str, Tensor] | None = None
        self._known_steps = 0
        self._known_as: tuple[int, int] | None = None

    @property
    def avg_parameters(self) -> dict[str, Tensor]:
        """What is averaged, by name: parameters, or the whole state dict with ``update_buffers``."""
        # `Module.state_dict` returns detached tensors. After a
        # move they would be the old ones, so nothing is kept here.
        if self.update_buffers:
            return self._tensors_of(self.module)
        if self._averaged is None:
            self._averaged = self._tensors_of(self.module)
        return self._averaged

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        # `to("meta")`, for one, puts new Parameter objects into the module.
        self._averaged = None  # a move may replace the parameters
        return super()._apply(fn, recurse)

    def _tensors_of(self, model: nn.Module) -> dict[str, Tensor]:
        return model.state_dict() if self.update_buffers else dict(model.named_parameters())

    @abstractmethod
    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Move ``averaged_param``, in place, towards ``source_param``.

        Args:
            averaged_param: One tensor of the average.
            source_param: The same tensor of the model, on the device of the average.
            steps: Updates so far, as a 0-dim tensor on the CPU or an int.
        """

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the averaged model."""
        return self.module(*args, **kwargs)

    def update_parameters(self, model: nn.Module) -> None:
        """Take the weights that ``model`` has now into the average."""
        count = self._count()
        if count % self.interval == 0:
            source = self._tensors_of(model)
            # MMEngine 0.10.7 copies at the first update, with any momentum.
            if count == 0:
                for name, average in self.avg_parameters.items():
                    # `.data` does not raise the version counter of a tensor,
                    # so a graph that saved it can still be run backward.
                    average.data.copy_(source[name].data)
            else:
                self._average(
                    [
                        (average.data, source[name].data.to(average.device))
                        for name, average in self.avg_parameters.items()
                        # With `update_buffers` these include `num_batches_tracked`:
                        # `lerp_` of torch does not take integers.
                        if average.dtype.is_floating_point
                    ],
                    # A user's `avg_func` may compute with tensors, since MMEngine 0.10.7 passes `self.steps` itself.
                    self.steps if self.steps.device.type == "cpu" else torch.tensor(count),
                )
        if not self.update_buffers:
            # At every update, not only at each `interval`-th: MMEngine 0.10.7 does so.
            for copied, buffer in zip(self.module.buffers(), model.buffers(), strict=True):
                copied.data.copy_(buffer.data)
        self.steps += 1
        self._known_steps = count + 1
        # `load_state_dict` writes in place and raises `_version`; a move to another device makes another tensor.
        self._known_as = (id(self.steps), self.steps._version)

    def _average(self, pairs: list[tuple[Tensor, Tensor]], steps: Any) -> None:
        for average, source in pairs:
            self.avg_func(average, source, steps)

    def _count(self) -> int:
        """Return ``steps``, reading it back only if someone else wrote it: on a GPU that would wait for the device."""
        if self._known_as != (id(self.steps), self.steps._version):
            self._known_steps = int(self.steps)
        return self._known_steps


@MODELS.register_module()
class StochasticWeightAverage(BaseAveragedModel):
    """The mean of all weights so far (Izmailov et al., UAI 2018); stands for MMEngine's class of that name.

    The arguments are those of :class:`BaseAveragedModel`.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> mean = StochasticWeightAverage(model)
        >>> for value in (1.0, 2.0, 6.0):
        ...     mean.update_parameters(model.requires_grad_(False).apply(lambda m: m.weight.fill_(value)))
        >>> mean.module.weight.item(), list(mean.state_dict())
        (3.0, ['steps', 'module.weight'])
    """

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Add the ``n``-th part of the difference."""
        # A division of Python numbers: one of tensors would round to float32.
        averaged_param.add_(
            source_param - averaged_param, alpha=1 / float(int(steps) // self.interval + 1)
        )


@MODELS.register_module()
class ExponentialMovingAverage(BaseAveragedModel):
    """``average = (1 - momentum) · average + momentum · model``; stands for MMEngine's class of that name.

    Args:
        model: Is copied.
        momentum: In ``(0, 1)``, and small: it is the weight of the *new* value.
        interval: See :class:`BaseAveragedModel`.
        device: See :class:`BaseAveragedModel`.
        update_buffers: See :class:`BaseAveragedModel`.

    Raises:
        ArgumentError: ``momentum`` is not within (0, 1).
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, interval, device, update_buffers)
        if not 0.0 < momentum < 1.0:
            raise ArgumentError(f"momentum must be in range (0.0, 1.0) but got {momentum}")
        # torch.optim's momentum weighs the old value, this one the new: 0.999 is the usual mistake.
        if momentum > 0.5:
            print_log(
                f"The value of momentum in EMA is usually a small number, which is different from the conventional "
                f"notion of momentum but got {momentum}. Please make sure the value is correct.",
                logger="current",
                level=logging.WARNING,
            )
        self.momentum = momentum

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Interpolate."""
        averaged_param.lerp_(source_param, self._momentum_at(steps))

    def _momentum_at(self, steps: int) -> float:
        return self.momentum

    def _average(self, pairs: list[tuple[Tensor, Tensor]], steps: Any) -> None:
        # A subclass with its own `avg_func`, such as those of OpenMMLab's toolboxes, must be called for each tensor.
        if pairs and type(self).avg_func is ExponentialMovingAverage.avg_func:
            # The same arithmetic in one call, several times as fast; on a GPU also in one kernel.
            averages, sources = zip(*pairs, strict=True)
            torch._foreach_lerp_(averages, sources, self._momentum_at(self._count()))
        else:
            super()._average(pairs, steps)


@MODELS.register_module()
class MomentumAnnealingEMA(ExponentialMovingAverage):
    """An average that follows closely at first; stands for MMEngine's class of that name.

    Args:
        model: Is copied.
        momentum: The final momentum; at step ``t`` it is ``max(momentum, gamma / (gamma + t))``.
        gamma: Positive; the larger, the longer it follows closely.
        interval: See :class:`BaseAveragedModel`.
        device: See :class:`BaseAveragedModel`.
        update_buffers: See :class:`BaseAveragedModel`.

    Raises:
        ArgumentError: ``gamma`` is not positive.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        gamma: int = 100,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        super().__init__(model, momentum, interval, device, update_buffers)
        if gamma <= 0:
            raise ArgumentError(f"gamma must be greater than 0, but got {gamma}")
        self.gamma = gamma

    def _momentum_at(self, steps: int) -> float:
        return max(self.momentum, self.gamma / (self.gamma + int(steps)))
