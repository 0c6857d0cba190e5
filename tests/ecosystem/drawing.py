"""Released networks of MMagic, made small: one generates pictures, one restores them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tests.ecosystem.networks import Made, descending


def made(name: str) -> Made:
    """Return the network of a config."""
    folder = Path(str(importlib.import_module("mmagic.models").__file__)).parents[1]
    config = importlib.import_module("mmengine.config").Config
    settings = config.fromfile(str(folder / ".mim" / "configs" / name)).model
    return generative(settings) if "stylegan" in name else restoring(settings)


def samples_of(pictures: Tensor) -> list[Any]:
    """Return pictures as MMagic's data pipelines do."""
    kind = importlib.import_module("mmagic.structures").DataSample
    return [kind(gt_img=each) for each in pictures]


def generative(settings: Any) -> Made:
    """Return StyleGAN2 with pictures of 8 pixels; its loss is the discriminator's, which learns four of them."""
    engine = importlib.import_module("mmengine")
    optim = importlib.import_module("mmengine.optim")
    settings.generator.update(out_size=8, style_channels=64, num_mlps=2)
    settings.discriminator.in_size = 8
    model: Any = importlib.import_module("mmagic.registry").MODELS.build(settings)
    hub, real = engine.MessageHub.get_current_instance(), torch.rand(4, 3, 8, 8) * 255
    parts = {"generator": model.generator, "discriminator": model.discriminator}
    optimizers = {
        part: optim.OptimWrapper(torch.optim.Adam(each.parameters(), 1e-3, (0.0, 0.99)))
        for part, each in parts.items()
    }
    wrapper, count = optim.OptimWrapperDict(**optimizers), iter(range(1000))

    def step() -> float:
        # Both penalties of gradients are part of iterations that 16 and 4 divide.
        hub.update_info("iter", next(count))
        logged = model.train_step({"inputs": {}, "data_samples": samples_of(real)}, wrapper)
        return float(logged["loss_disc_fake"] + logged["loss_disc_real"])

    def predict() -> list[int]:
        data = {"inputs": {"num_batches": 2}, "data_samples": None}
        return [int(each.fake_img.isfinite().sum()) for each in model.test_step(data)]

    return Made(step, predict)


def restoring(settings: Any) -> Made:
    """Return EDVR on five pictures of 16 pixels, four times as large afterwards."""
    settings.generator.update(
        mid_channels=16, num_blocks_extraction=1, num_blocks_reconstruction=1, init_cfg=None
    )
    settings.train_cfg.tsa_iter = 0  # trains all of it from the first iteration on
    model: Any = importlib.import_module("mmagic.registry").MODELS.build(settings)
    large = torch.rand(2, 3, 64, 64) * 255
    small = torch.nn.functional.avg_pool2d(large, 4)[:, None].repeat(1, 5, 1, 1, 1)

    def data(training: bool) -> dict[str, Any]:
        given = {"inputs": list(small), "data_samples": samples_of(large)}
        prepared: dict[str, Any] = model.data_preprocessor(given, training)
        return prepared

    def loss() -> Tensor:
        total: Tensor = model.parse_losses(model(**data(True), mode="loss"))[0]
        return total

    def predict() -> list[int]:
        found = model.eval()(**data(False), mode="predict")
        return [int(each.output.pred_img.isfinite().sum()) for each in found]

    return Made(descending(model, loss, 1e-3), predict)
