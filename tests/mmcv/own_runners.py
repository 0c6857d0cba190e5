"""1.x runners that go through the data themselves: ``made(package.runner, package.parallel)["flows"]``."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Net(nn.Module):
    """Two layers and noise, so that the order of random numbers shows."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 1)

    def forward(self, x: Any) -> Any:
        return self.second(torch.tanh(self.first(x + 0.1 * torch.randn_like(x))))

    def train_step(self, data: Any, optimizer: Any = None, **kwargs: Any) -> dict[str, Any]:
        loss = self(data).pow(2).mean() * kwargs.get("weight", 1.0)
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": len(data)}

    val_step = train_step


class Rows(Dataset):
    def __init__(self, size: int) -> None:
        self.rows = torch.arange(size * 3.0).reshape(size, 3).sin()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def loader(size: int = 10) -> DataLoader:
    return DataLoader(Rows(size), batch_size=4, shuffle=True)


def runners(base: Any) -> dict[str, tuple[type, list[tuple[str, int]]]]:
    """Return the runners by name, each with its workflow."""

    class OwnTrain(base.EpochBasedRunner):
        """An epoch of one's own that ends with the better of two halves."""

        def train(self, data_loader: Any, **kwargs: Any) -> None:
            self.model.train()
            self.mode, self.data_loader = "train", data_loader
            self._max_iters = self._max_epochs * len(data_loader)
            self.call_hook("before_train_epoch")
            for index, batch in enumerate(data_loader):
                self._inner_iter = index
                for half in (batch[::2], batch[1::2]):
                    self.data_batch = half
                    self.call_hook("before_train_iter")
                    self.run_iter(half, train_mode=True, weight=0.5)
                    self.call_hook("after_train_iter")
                    self._iter += 1
            self.call_hook("after_train_epoch")
            self._epoch += 1

    class Warm(base.EpochBasedRunner):
        """MMCV's epoch, and something before."""

        def train(self, data_loader: Any, **kwargs: Any) -> None:
            torch.rand(self._epoch + 1)
            super().train(data_loader, **kwargs)

    class OwnRun(base.EpochBasedRunner):
        """Validate before the first epoch, then whatever the workflow says."""

        def run(self, data_loaders: Any, workflow: Any, **kwargs: Any) -> str:
            self.call_hook("before_run")
            self.val(data_loaders[1])
            while self.epoch < self._max_epochs:
                for (mode, times), each in zip(workflow, data_loaders, strict=True):
                    for _ in range(times):
                        getattr(self, mode)(each, **kwargs)
            self.call_hook("after_run")
            return "what run returns"

    class Whole(base.IterBasedRunner):
        """MMCV's run, twice as long."""

        def run(self, data_loaders: Any, workflow: Any, **kwargs: Any) -> None:
            self._max_iters *= 2
            super().run(data_loaders, workflow, **kwargs)

    class Dynamic(base.IterBasedRunner):
        """Iterations, dispatch and hooks of its own."""

        def call_hook(self, fn_name: str) -> None:
            for hook in self._hooks:
                if hasattr(hook, fn_name):
                    getattr(hook, fn_name)(self)

        def train(self, data_loader: Any, **kwargs: Any) -> None:
            self.model.train()
            self.mode, self.data_loader = "train", data_loader
            self._epoch = data_loader.epoch
            self.call_hook("before_fetch_train_data")
            batch = next(self.data_loader)
            self.call_hook("before_train_iter")
            kwargs["weight"] = 1 / (1 + self._iter)
            self.outputs = self.model.train_step(batch, self.optimizer, **kwargs)
            self.log_buffer.update(self.outputs["log_vars"], self.outputs["num_samples"])
            self.call_hook("after_train_iter")
            self._inner_iter += 1
            self._iter += 1

        def run(self, data_loaders: Any, workflow: Any, **kwargs: Any) -> None:
            self.call_hook("before_run")
            iterators = [base.IterLoader(each) for each in data_loaders]
            self.call_hook("before_epoch")
            while self.iter < self._max_iters:
                for (mode, times), each in zip(workflow, iterators, strict=True):
                    self._inner_iter = 0
                    for _ in range(times):
                        if mode == "train" and self.iter >= self._max_iters:
                            break
                        getattr(self, mode)(each, **kwargs)
            self.call_hook("after_epoch")
            self.call_hook("after_run")

    class Flows(base.EpochBasedRunner):
        """Two modes of its own, and no 'train'."""

        def small(self, data_loader: Any, **kwargs: Any) -> None:
            self.train(data_loader, weight=0.1)

        def large(self, data_loader: Any, **kwargs: Any) -> None:
            self.train(data_loader, weight=2.0)

    both = [("train", 1), ("val", 1)]
    return {
        "own train": (OwnTrain, both),
        "super().train": (Warm, both),
        "own run": (OwnRun, both),
        "super().run": (Whole, [("train", 2), ("val", 1)]),
        "dynamic": (Dynamic, [("train", 2), ("val", 1)]),
        "flows": (Flows, [("small", 1), ("large", 1)]),
    }


def made(base: Any, name: str, folder: str, **options: Any) -> tuple[Any, list[Any], list[Any]]:
    """Return a runner, its workflow, and what a hook writes down in a run."""
    torch.manual_seed(3)
    cls, workflow = runners(base)[name]
    model = Net()
    length = {"max_iters": 5} if issubclass(cls, base.IterBasedRunner) else {"max_epochs": 2}
    runner = cls(
        model, optimizer=torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9),
        work_dir=folder, logger=logging.getLogger("quiet"), **length, **options,
    )  # fmt: skip
    seen: list[Any] = []

    class Note(base.Hook):
        def after_iter(self, each: Any) -> None:
            loss = each.outputs["loss"].item().hex()
            seen.append(
                (
                    each.mode,
                    each.epoch,
                    each.iter,
                    each.inner_iter,
                    loss,
                    each.current_lr()[0].hex(),
                )
            )

    runner.register_training_hooks(
        {"policy": "step", "step": [1, 3], "by_epoch": bool("max_epochs" in length)},
        {"grad_clip": {"max_norm": 1.0}},
        {"interval": 2, "by_epoch": "max_epochs" in length},
    )
    runner.register_hook(Note(), priority="LOW")
    return runner, workflow, seen
