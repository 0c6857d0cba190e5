"""A GAN on points: two optimizers, an own ``train_step`` and an own constructor."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset

from mm2pl.model import BaseModel
from mm2pl.optim import OptimWrapperDict, build_optim_wrapper
from mm2pl.registry import DATASETS, MODELS, OPTIM_WRAPPER_CONSTRUCTORS


@DATASETS.register_module()
class Circle(Dataset):
    """Points on the unit circle, as ``dict(inputs=(2,))``."""

    def __init__(self, size: int = 512) -> None:
        angle = torch.linspace(0, 2 * torch.pi, size)
        self.points = torch.stack([angle.cos(), angle.sin()], dim=1)

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"inputs": self.points[index]}


def mlp(inside: int, outside: int) -> nn.Sequential:
    """Return a small MLP from ``inside`` to ``outside`` features."""
    return nn.Sequential(nn.Linear(inside, 32), nn.LeakyReLU(0.2), nn.Linear(32, outside))


@MODELS.register_module()
class PointGAN(BaseModel):
    """Learn to draw the points of a data set.

    Args:
        noise: Size of the generator's input.
    """

    def __init__(self, noise: int = 4) -> None:
        super().__init__()
        self.noise = noise
        self.generator = mlp(noise, 2)
        self.discriminator = mlp(2, 1)

    def forward(self, inputs: torch.Tensor, mode: str = "tensor") -> torch.Tensor:
        """Draw as many points as there are in ``inputs (N, 2)``."""
        return self.generator(torch.randn(len(inputs), self.noise, device=inputs.device))

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        """Update the discriminator, then the generator; return both losses."""
        real = self.data_preprocessor(data, True)["inputs"]
        for_d, for_g = optim_wrapper["discriminator"], optim_wrapper["generator"]
        with for_d.optim_context(self.discriminator):
            fake = self(real).detach()
            loss_d = (
                F.softplus(-self.discriminator(real)) + F.softplus(self.discriminator(fake))
            ).mean()
        for_d.update_params(loss_d)
        with for_g.optim_context(self.generator):
            loss_g = F.softplus(-self.discriminator(self(real))).mean()
        for_g.update_params(loss_g)
        return {"loss_d": loss_d.detach(), "loss_g": loss_g.detach()}


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class PerPartConstructor:
    """Build one optimizer wrapper per named part of the model.

    Args:
        optim_wrapper_cfg: Part → optimizer wrapper config.
        paramwise_cfg: Not used; a part's config may have its own.
    """

    def __init__(self, optim_wrapper_cfg: dict[str, Any], paramwise_cfg: Any = None) -> None:
        self.parts = {name: cfg for name, cfg in optim_wrapper_cfg.items() if isinstance(cfg, dict)}

    def __call__(self, model: nn.Module) -> OptimWrapperDict:
        """Return the wrappers by name."""
        wrappers = {
            name: build_optim_wrapper(getattr(model, name), dict(cfg))
            for name, cfg in self.parts.items()
        }
        return OptimWrapperDict(**wrappers)
