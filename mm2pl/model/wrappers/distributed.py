"""One model in several processes, gradients averaged."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mm2pl.model import utils
from mm2pl.model.forward import run_forward
from mm2pl.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mm2pl.optim import OptimWrapper

MODEL_WRAPPERS._register_own(DistributedDataParallel, "DistributedDataParallel")
MODEL_WRAPPERS._register_own(DataParallel, "DataParallel")


@MODEL_WRAPPERS.register_module()
class MMDistributedDataParallel(DistributedDataParallel):
    """`DistributedDataParallel` with the three steps of a model; stands for `mmengine.model.MMDistributedDataParallel`.

    Under Lightning the strategy wraps the model and this class only gives a ``model_wrapper_cfg`` its name. By itself
    it works in any training loop. What ``train_step`` returns for the log is this process's own: nothing is reduced.

    Args:
        module: The model.
        detect_anomalous_params: Log each parameter that the loss does not depend on; slow.
        **kwargs: For `DistributedDataParallel`.
    """

    def __init__(
        self, module: nn.Module, detect_anomalous_params: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(module=module, **kwargs)
        self.detect_anomalous_params = detect_anomalous_params

    def train_step(self, data: Any, optim_wrapper: OptimWrapper) -> dict[str, torch.Tensor]:
        """Update the parameters with one batch; the gradients are averaged over the processes."""
        with optim_wrapper.optim_context(self):
            data = self.module.data_preprocessor(data, True)
            losses = self._run_forward(data, mode="loss")
        loss, log_vars = self.module.parse_losses(losses)
        optim_wrapper.update_params(loss)
        if self.detect_anomalous_params:
            # After the update, as in MMEngine: backward frees the saved tensors, but not the graph that is walked.
            utils.detect_anomalous_params(loss, model=self)
        return log_vars

    def val_step(self, data: Any) -> Any:
        """Return the model's predictions for one batch."""
        # Not through the wrapper: its `forward` may broadcast buffers,
        # and a rank with fewer batches would leave others waiting.
        return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """Return the model's predictions for one batch."""
        return self.module.test_step(data)

    def _run_forward(self, data: Any, mode: str) -> Any:
        # Through self, not self.module: the wrapper's forward prepares the exchange of gradients.
        return run_forward(self.module, data, mode, wrapper=self)
