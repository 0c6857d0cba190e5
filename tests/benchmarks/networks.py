"""What is trained: networks that know their losses and their predictions, and the batches for them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset


class Mlp(nn.Module):
    """The two-dimensional points' network: 2 → 64 → 64 → 2."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        )

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": F.cross_entropy(self.layers(x), y)}

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x).argmax(1)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    layer = nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(outputs))


class Block(nn.Module):
    """A residual block: two 3×3 convolutions, or 1×1, 3×3, 1×1 with four times the outputs."""

    def __init__(self, inputs: int, width: int, stride: int, bottleneck: bool) -> None:
        super().__init__()
        outputs = 4 * width if bottleneck else width
        sizes = [1, 3, 1] if bottleneck else [3, 3]
        channels = [inputs, *[width] * (len(sizes) - 1), outputs]
        strides = [1, stride, 1] if bottleneck else [stride, 1]
        layers: list[nn.Module] = []
        for i, size in enumerate(sizes):
            layers += [convolution(channels[i], channels[i + 1], size, strides[i]), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(self.layers(x) + self.shortcut(x))


class ResNet(nn.Module):
    """A classifier: ``(N, 3, H, W)`` → ``(N, 10)``. ResNet-50 is ``ResNet((3, 4, 6, 3), 64, True)``."""

    def __init__(self, depths: tuple[int, ...], width: int, bottleneck: bool = False) -> None:
        super().__init__()
        stem = convolution(3, width, 7, 2) if bottleneck else convolution(3, width, 3)
        layers: list[nn.Module] = [stem, nn.ReLU()]
        if bottleneck:
            layers.append(nn.MaxPool2d(3, 2, 1))
        channels = width
        for stage, depth in enumerate(depths):
            for i in range(depth):
                stride = 2 if stage and not i else 1
                layers.append(Block(channels, width << stage, stride, bottleneck))
                channels = (4 if bottleneck else 1) * (width << stage)
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(channels, 10)

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"loss": F.cross_entropy(self.head(self.layers(x).mean((2, 3))).float(), y)}

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(x).mean((2, 3))).argmax(1)


class Detector(nn.Module):
    """Like a two-stage detector to its driver: one small trunk, four levels, eight losses, some of them lists."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = convolution(3, 16, 3, 2)
        self.levels = nn.ModuleList(convolution(16, 16, 3, 2) for _ in range(4))
        self.names = ("rpn_cls", "rpn_bbox", "cls", "bbox", "mask", "centerness", "iou", "dfl")
        self.heads = nn.ModuleList(nn.Conv2d(16, 1, 1) for _ in self.names)

    def losses(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, Any]:
        x, maps = F.relu(self.stem(x)), []
        for level in self.levels:
            x = F.relu(level(x))
            maps.append(x)
        found: dict[str, Any] = {}
        for i, (name, head) in enumerate(zip(self.names, self.heads, strict=True)):
            values = [head(each).float().abs().mean() for each in maps]
            found[f"loss_{name}"] = values if i < 2 else torch.stack(values).mean()
        return found


class Repeated(Dataset):
    """The same batch again and again, where it lies: loading costs nothing."""

    def __init__(self, batch: tuple[torch.Tensor, ...], times: int) -> None:
        self.batch, self.times = batch, times

    def __len__(self) -> int:
        return self.times

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        return self.batch


@dataclass(frozen=True, kw_only=True)
class Task:
    """A network, its optimizer, and a loader of ``iterations`` batches."""

    network: Callable[[], nn.Module]
    loader: Callable[[int, str], DataLoader]
    iterations: int
    optimizer: dict[str, Any]
    device: str = "cpu"
    dtype: str | None = None
    validate: bool = False
    drives: bool = False

    def batches(self) -> DataLoader:
        """Return a new loader."""
        return self.loader(self.iterations, self.device)

    def optimizer_of(self, model: nn.Module) -> torch.optim.Optimizer:
        """Return a new optimizer of a model's parameters."""
        arguments = dict(self.optimizer)
        kind: Any = getattr(torch.optim, arguments.pop("type"))
        return kind(model.parameters(), **arguments)


def points(batch: int) -> Callable[[int, str], DataLoader]:
    """Return a maker of loaders of random points, collated anew for each batch."""

    def loader(iterations: int, device: str) -> DataLoader:
        inputs = torch.randn(batch * iterations, 2)
        return DataLoader(TensorDataset(inputs, (inputs[:, 0] > 0).long()), batch_size=batch)

    return loader


def images(batch: int, size: int) -> Callable[[int, str], DataLoader]:
    """Return a maker of loaders whose batch lies on the device already."""

    def loader(iterations: int, device: str) -> DataLoader:
        inputs = torch.randn(batch, 3, size, size, device=device)
        targets = torch.randint(10, (batch,), device=device)
        # MMEngine wants a loader with a batch sampler.
        return DataLoader(
            Repeated((inputs, targets), iterations), collate_fn=operator.itemgetter(0)
        )

    return loader
