"""The base class of models that a run can train, validate and test."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.model.base_model.data_preprocessor import BaseDataPreprocessor
from mm2pl.model.base_module import BaseModule
from mm2pl.model.forward import run_forward
from mm2pl.registry import MODELS

if TYPE_CHECKING:
    from mm2pl.optim import OptimWrapper


class BaseModel(BaseModule):
    """Base of all models; stands for `mmengine.model.BaseModel`.

    A subclass writes :meth:`forward`. The three steps call it with what ``data_preprocessor`` makes of a batch,
    unpacked: ``forward(**data, mode=...)`` if that is a dict, ``forward(*data, mode=...)`` if it is a tuple or a list.

    Args:
        data_preprocessor: A module called as ``data_preprocessor(data, training)``, or the dict to build one from.
            None moves the batch to the model's device and does nothing else.
        init_cfg: How :meth:`init_weights` initialises the parameters.

    Raises:
        TypeError: ``data_preprocessor`` is of another kind.

    Example:
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.slope = nn.Parameter(torch.tensor(2.0))
        ...     def forward(self, x, y, mode):
        ...         prediction = self.slope * x
        ...         return {"loss": (prediction - y) ** 2} if mode == "loss" else (prediction, y)
        >>> Line().val_step((torch.tensor(1.0), torch.tensor(3.0)))
        (tensor(2., grad_fn=<MulBackward0>), tensor(3.))
    """

    def __init__(
        self,
        data_preprocessor: dict[str, Any] | nn.Module | None = None,
        init_cfg: dict[str, Any] | list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.data_preprocessor: nn.Module
        if data_preprocessor is None:
            self.data_preprocessor = BaseDataPreprocessor()
        elif isinstance(data_preprocessor, nn.Module):
            self.data_preprocessor = data_preprocessor
        elif isinstance(data_preprocessor, dict):
            self.data_preprocessor = MODELS.build(data_preprocessor)
        else:
            raise ArgumentError(
                f"data_preprocessor should be a dict, a torch.nn.Module or None, but got {data_preprocessor!r}"
            )

    @abstractmethod
    def forward(
        self, inputs: torch.Tensor, data_samples: list[Any] | None = None, mode: str = "tensor"
    ) -> Any:
        """Return losses, predictions or raw outputs, by ``mode``.

        Args:
            inputs: What ``data_preprocessor`` returns; a subclass names its arguments after that.
            data_samples: Likewise.
            mode: ``"loss"``: a dict of tensors (or lists of tensors); what has ``loss`` in its name is summed and
                minimised, the rest is logged. ``"predict"``: what the metrics get, one element per sample.
                ``"tensor"``: raw output, for the user's own purposes.
        """

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: OptimWrapper
    ) -> dict[str, torch.Tensor]:
        """Update the parameters with one batch, and return what is to be logged.

        Args:
            data: A batch as the loader gives it; ``data_preprocessor`` moves it to the device.
            optim_wrapper: Makes the update.

        Returns:
            The sum of the losses as ``loss``, and each value by name, as tensors that are still on the device.
        """
        with optim_wrapper.optim_context(self):
            data = self.data_preprocessor(data, True)
            losses = self._run_forward(data, mode="loss")
        # Outside of the context: torch advises against running backward under autocast.
        loss, log_vars = self.parse_losses(losses)
        optim_wrapper.update_params(loss)
        return log_vars

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> Any:
        """Return the predictions for ``data``, a batch as the loader gives it."""
        return self._run_forward(self.data_preprocessor(data, False), mode="predict")

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> Any:
        """Return the predictions for ``data``, as :meth:`val_step` does."""
        return self._run_forward(self.data_preprocessor(data, False), mode="predict")

    def parse_losses(
        self, losses: dict[str, Any]
    ) -> tuple[torch.Tensor, OrderedDict[str, torch.Tensor]]:
        """Sum up what is to be minimised, and average each value for the log.

        In the log the sum comes first, as ``loss``; if the model itself calls a value ``loss``, that value stands
        there instead (as in MMEngine). Nothing is transferred from the device. The sum of nothing is the number 0, for
        a model that only logs; the optimizer wrapper refuses to minimise it.

        Raises:
            TypeError: ``losses`` is not a dict, or a value is neither a tensor nor a list of tensors.
        """
        # A dict first: Mapping asks through Python's abstract classes, which takes longer.
        if not isinstance(losses, (dict, Mapping)):
            raise ArgumentError(
                f"{type(self).__name__}.forward(mode='loss') returned {type(losses).__name__}: a dict is needed that "
                f"maps names to tensors, such as dict(loss=...); is there a branch for mode == 'loss'?"
            )
        means = {name: self._mean(name, value) for name, value in losses.items()}
        # A substring, as in MMEngine: `aux_loss` and `loss_cls` count, and so does a metric called `lossless`.
        loss = _total([mean for name, mean in means.items() if "loss" in name])
        # MMEngine puts the sum in front; the logs show the values in this order.
        return loss, OrderedDict({"loss": loss, **means})

    def _mean(self, name: str, value: Any) -> Any:
        if isinstance(value, list) and all(isinstance(part, torch.Tensor) for part in value):
            return _total([self._mean(name, part) for part in value])
        if not isinstance(value, torch.Tensor):
            raise ArgumentError(
                f"{name} is not a tensor or list of tensors but {type(value).__name__}, in what "
                f"{type(self).__name__}.forward(mode='loss') returned: wrap a number by torch.tensor, or leave it out"
            )
        # The mean of one number is that number. But a tensor without a history could be a buffer that changes before
        # it is logged, so that one is copied.
        if value.ndim == 0 and value.grad_fn is not None:
            return value
        if not (value.is_floating_point() or value.is_complex()):
            raise ArgumentError(
                f"{name} has dtype {value.dtype}, in what {type(self).__name__}.forward(mode='loss') returned: only "
                f"floating-point values can be averaged for the log; call .float()"
            )
        return value.mean()

    def _run_forward(self, data: Any, mode: str) -> Any:
        """Call the model with ``data`` unpacked."""
        return run_forward(self, data, mode)


def _total(parts: list[Any]) -> Any:
    """Add up from the left; no part at all is 0, as in MMEngine."""
    # From the first part: sum() begins with the int 0, which costs one more kernel and one more autograd node.
    return sum(parts[1:], start=parts[0]) if parts else 0
