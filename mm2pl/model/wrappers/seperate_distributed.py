"""Several networks in one model, each with its own exchange of gradients; spelt as MMEngine spells the module."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import Self

from mm2pl.model.wrappers.distributed import MMDistributedDataParallel
from mm2pl.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mm2pl.optim import OptimWrapperDict


@MODEL_WRAPPERS.register_module()
class MMSeparateDistributedDataParallel(DistributedDataParallel):
    """Wrap each child of a model by itself; stands for `mmengine.model.MMSeparateDistributedDataParallel`.

    A GAN updates its generator and its discriminator in turn, which one `DistributedDataParallel` around both does not
    allow. Children without trainable parameters are only moved. The model must have its own ``train_step``.

    Args:
        module: The model; its children are replaced by their wrappers.
        broadcast_buffers: See `DistributedDataParallel`.
        find_unused_parameters: See `DistributedDataParallel`.
        **kwargs: For :class:`MMDistributedDataParallel`.
    """

    def __init__(
        self,
        module: nn.Module,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        **kwargs: Any,
    ) -> None:
        # This is not a DistributedDataParallel itself; it only passes for one in isinstance checks.
        super(DistributedDataParallel, self).__init__()
        self.module = module
        device = "cuda" if torch.cuda.is_available() else "cpu"
        for name, child in module.named_children():
            child.to(device)
            if any(param.requires_grad for param in child.parameters()):
                module._modules[name] = MMDistributedDataParallel(
                    module=child,
                    broadcast_buffers=broadcast_buffers,
                    find_unused_parameters=find_unused_parameters,
                    **kwargs,
                )

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        """Call the model's own ``train_step``."""
        return self.module.train_step(data, optim_wrapper)

    def val_step(self, data: Any) -> Any:
        """Return the model's predictions for one batch."""
        return self.module.val_step(data)

    def test_step(self, data: Any) -> Any:
        """Return the model's predictions for one batch."""
        return self.module.test_step(data)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Exchange no gradients meanwhile, in any of the children."""
        # MMEngine 0.10.7 yields inside the loop, which contextlib refuses at the second child.
        with ExitStack() as stack:
            for child in self.module.children():
                if isinstance(child, DistributedDataParallel):
                    stack.enter_context(child.no_sync())
            yield

    def train(self, mode: bool = True) -> Self:
        """Set training mode; the model's own ``train()`` is called."""
        # This object never ran DistributedDataParallel's `__init__`; its `train` must not be relied on.
        self.training = mode
        self.module.train(mode)
        return self
