"""More loops as projects write them: loaders that end apart, phases, ends and validations of a loop's own."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from tests.loops.driving import loader_dict


def inventions(package: str) -> dict[str, type]:
    """Return the loops by name, made of the classes of either package."""
    base = importlib.import_module(f"{package}.runner")

    class SeveralLoaders(base.EpochBasedTrainLoop):
        """The first loader counts the epoch; the others go round, and only the first one's batches are counted."""

        def __init__(self, runner: Any, dataloader: list, **settings: Any) -> None:
            self._dataloaders = [
                runner.build_dataloader(each, seed=runner.seed) for each in dataloader
            ]
            super().__init__(runner, self._dataloaders[0], **settings)

        def run_epoch(self) -> None:
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            others = [iter(loader) for loader in self._dataloaders[1:]]
            for idx, batch in enumerate(self.dataloader):
                self.run_iter(idx, batch)
                for number, loader in enumerate(self._dataloaders[1:]):
                    try:
                        extra = next(others[number])
                    except StopIteration:
                        others[number] = iter(loader)
                        extra = next(others[number])
                    self.runner.model.train_step(extra, optim_wrapper=self.runner.optim_wrapper)
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1

    class WithinTheEpoch(base.EpochBasedTrainLoop):
        """Validate also in the middle of an epoch, and less often as the accuracy rises."""

        def run_epoch(self) -> None:
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            for idx, batch in enumerate(self.dataloader):
                self.run_iter(idx, batch)
                if idx == 4:
                    self.middle = self.runner.val_loop.run()["accuracy"]
                    self.runner.model.train()
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1

        def _decide_current_val_interval(self) -> None:
            self.val_interval = 2 if self.middle > 0.2 else 1

    class Phases(base.IterBasedTrainLoop):
        """Train in phases, each on points of its own, with epochs that are the phases'."""

        def run(self) -> Any:
            runner = self.runner
            runner.call_hook("before_train")
            for phase, size in enumerate((24, 40)):
                loader = runner.build_dataloader(
                    loader_dict(size, shuffle=True), seed=runner.seed + phase
                )
                runner.call_hook("before_train_epoch")
                runner.model.train()
                for batch in loader:
                    self.run_iter(batch)
                runner.call_hook("after_train_epoch")
                self._epoch += 1
                runner.val_loop.run()
            runner.call_hook("after_train")
            return runner.model

    class LeavesOut(base.EpochBasedTrainLoop):
        """Go past batches that do not please, behind their first hooks, and past steps that fail."""

        def run_iter(self, idx: int, data_batch: Any) -> None:
            if idx % 4 == 3:
                self.runner.call_hook("before_train_iter", batch_idx=idx, data_batch=data_batch)
                return
            if idx % 4 == 2:
                data_batch = {**data_batch, "labels": data_batch["labels"] + 100}
            super().run_iter(idx, data_batch)

        def run_epoch(self) -> None:
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            for idx, batch in enumerate(self.dataloader):
                try:
                    self.run_iter(idx, batch)
                except IndexError:
                    self.runner.optim_wrapper.zero_grad()
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1

    class TestsToo(base.EpochBasedTrainLoop):
        """End by the test loop's opinion, asked after each epoch."""

        def run(self) -> Any:
            self.runner.call_hook("before_train")
            while self._epoch < self._max_epochs:
                self.run_epoch()
                self.tested = self.runner.test_loop.run()["accuracy"]
                self.runner.val_loop.run()
                if self._epoch == 2:
                    self.runner.train_loop.stop_training = True
                if self.stop_training:
                    break
            self.runner.call_hook("after_train")
            return self.runner.model

    class Folds(base.EpochBasedTrainLoop):
        """Begin again from the first weights for each part of the data, and end with the mean of all."""

        def run(self) -> Any:
            model = getattr(self.runner.model, "module", self.runner.model)
            first = {k: v.clone() for k, v in model.state_dict().items()}
            ends: list[dict[str, torch.Tensor]] = []
            self.runner.call_hook("before_train")
            for _ in range(2):
                model.load_state_dict(first)
                for _ in range(2):
                    self.run_epoch()
                ends.append({k: v.clone() for k, v in model.state_dict().items()})
            model.load_state_dict({
                k: sum(end[k] for end in ends) / 2 if v.is_floating_point() else v for k, v in first.items()
            })  # fmt: skip
            self.runner.val_loop.run()
            self.runner.call_hook("after_train")
            return self.runner.model

    return {
        "several loaders": SeveralLoaders,
        "within the epoch": WithinTheEpoch,
        "phases": Phases,
        "leaves out": LeavesOut,
        "tests too": TestsToo,
        "folds": Folds,
    }
