"""Dataloader dicts as a LightningDataModule."""

from __future__ import annotations

from types import MethodType
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule

from mm2pl.dataset import batch_size_of, build_dataloader
from mm2pl.lightning.module import MMLightningModule
from mm2pl.plan.containers import as_config
from mm2pl.run.stream import EvalStream


class MMDataModule(LightningDataModule):
    """Give the Trainer the loaders of an MMEngine config, built when first asked for.

    Args:
        train_dataloader: A loader, or ``dict(dataset=…, sampler=…, batch_size=…)``.
        val_dataloader: The same for validation.
        test_dataloader: The same for testing and predicting.
        seed: Seed of the samplers and workers; ``None``: the samplers agree on one over the processes.
        diff_rank_seed: Whether every process seeds differently.
    """

    def __init__(
        self,
        train_dataloader: Any = None,
        val_dataloader: Any = None,
        test_dataloader: Any = None,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> None:
        super().__init__()
        given = {"train": train_dataloader, "val": val_dataloader, "test": test_dataloader}
        self.configs = {stage: loader_config(loader) for stage, loader in given.items()}
        self.seed = seed
        self.diff_rank_seed = diff_rank_seed
        self.loaders: dict[str, Any] = {}

    @property
    def batch_size(self) -> int:
        """The training loader's batch size; settable until the Trainer has it, as Lightning's finder wants it.

        Raises:
            ValueError: When set: there is no config with a ``batch_size``.
        """
        return batch_size_of(self.configs["train"])

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        config = self.configs["train"]
        if not isinstance(config, dict) or "batch_size" not in config:
            raise ValueError(
                f"batch_size={value!r}: train_dataloader has no batch_size to set → give a dict with one"
            )
        config["batch_size"] = value
        self.loaders.pop("train", None)

    def loader(self, stage: str) -> Any:
        """Return the loader of ``train``, ``val`` or ``test``, built on first use; ``[]`` if there is none."""
        if stage not in self.loaders:
            config = self.configs[stage]
            if config is None:
                return []
            self.loaders[stage] = build_dataloader(config, self.seed, self.diff_rank_seed)
        return self.loaders[stage]

    def setup(self, stage: str) -> None:
        """Take over what the module does with batches too, so that Lightning does not warn of two who do."""
        module = self._trainers_module()
        if module is not None:
            let_datamodule_transfer(module)

    def teardown(self, stage: str) -> None:
        """Give it back to the module: its next loaders may be another's."""
        module = self._trainers_module()
        if module is not None:
            vars(module).pop("transfer_batch_to_device", None)

    def _trainers_module(self) -> MMLightningModule | None:
        module = self.trainer.lightning_module if self.trainer is not None else None
        users = isinstance(module, MMLightningModule) and not module.driven_by_run
        return module if users else None  # type: ignore[return-value]

    def train_dataloader(self) -> Any:
        """Return the training loader, or the stream that a config-driven run has put in its place."""
        return self.loader("train")

    def val_dataloader(self) -> Any:
        """Return the validation loader."""
        return self._view("val")

    def test_dataloader(self) -> Any:
        """Return the test loader."""
        return self._view("test")

    def predict_dataloader(self) -> Any:
        """Return the test loader, for ``mm2pl predict``; the training loader is never used for it."""
        return self._view("test")

    def transfer_batch_to_device(self, batch: Any, device: Any, dataloader_idx: int) -> Any:
        """Leave the batch as the loader made it: the model's data preprocessor moves it, metrics want it raw."""
        return batch

    def _view(self, stage: str) -> Any:
        loader = self.loader(stage)
        return EvalStream(loader) if loader else []


def loader_config(loader: Any) -> Any:
    """Give a loader's dict attributes, as :func:`as_config` does; a data set that is no dict stays as it is.

    >>> type(loader_config({"dataset": [{"inputs": 1}], "batch_size": 1})["dataset"][0])
    <class 'dict'>
    """
    if not isinstance(loader, dict) or isinstance(loader.get("dataset", {}), dict):
        return as_config(loader)
    made = as_config({**loader, "dataset": None})
    dict.__setitem__(made, "dataset", loader["dataset"])
    return made


def let_datamodule_transfer(module: MMLightningModule) -> None:
    """Hide that the module leaves batches raw, as Lightning would warn that :class:`MMDataModule` does so too.

    Args:
        module: Of a run; one whose class moves batches in its own way is left alone.
    """
    if type(module).transfer_batch_to_device is MMLightningModule.transfer_batch_to_device:
        plain = MethodType(LightningModule.transfer_batch_to_device, module)
        module.transfer_batch_to_device = plain  # type: ignore[method-assign]
