"""Dataloader dicts as a LightningDataModule."""

from __future__ import annotations

from collections.abc import Iterable
from types import MethodType
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader

from mm2pl.dataset import batch_size_of, build_dataloader, loader_config, never_ends
from mm2pl.dist import get_dist_info, sync_random_seed
from mm2pl.dist.utils import sharing_data
from mm2pl.errors import ArgumentError, under_key
from mm2pl.lightning.from_file import FromKnownNames
from mm2pl.lightning.loader_views import EndlessView, TrainView, share_of
from mm2pl.lightning.module import MMLightningModule
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.run.other_package import refuse_other_package
from mm2pl.run.stream import EvalStream

if TYPE_CHECKING:
    import torch


class MMDataModule(FromKnownNames, LightningDataModule):
    """Give the Trainer the loaders of an MMEngine config, built when first asked for.

    Args:
        train_dataloader: A loader, or ``dict(dataset=…, sampler=…, batch_size=…)``.
        val_dataloader: The same for validation, or a list of them: a run evaluates one set after the other.
        test_dataloader: The same for testing and predicting.
        seed: Seed of the samplers and workers; ``None``: the samplers agree on one over the processes.
        diff_rank_seed: Whether every process seeds differently.

    Raises:
        ArgumentError: When a loader is asked for that was not given, or is neither a dict nor a DataLoader.

    Example:
    >>> data = MMDataModule(
    ...     train_dataloader={
    ...         "dataset": list(range(8)),
    ...         "sampler": {"type": "DefaultSampler", "shuffle": False},
    ...         "batch_size": 4,
    ...         "num_workers": 0,
    ...     },
    ... )
    >>> list(data.train_dataloader())
    [[0, 1, 2, 3], [4, 5, 6, 7]]
    """

    def __init__(
        self,
        train_dataloader: Settings | DataLoader[Any] | None = None,
        val_dataloader: Settings | SettingsList | DataLoader[Any] | None = None,
        test_dataloader: Settings | SettingsList | DataLoader[Any] | None = None,
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> None:
        super().__init__()
        given = {"train": train_dataloader, "val": val_dataloader, "test": test_dataloader}
        self.configs = {stage: loader_config(loader) for stage, loader in given.items()}
        self.seed = seed
        self.diff_rank_seed = diff_rank_seed
        self.loaders: dict[str, Any] = {}
        self.loaders_of_run: dict[str, Any] = {}
        self._shares: dict[str, tuple[int, int]] = {}

    @property
    def lightning_datamodule(self) -> LightningDataModule:
        """What the Trainer of a run is given: this data module."""
        return self

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
            raise ArgumentError(
                f"batch_size={value!r}: train_dataloader has no batch_size to set → give a dict with one"
            )
        config["batch_size"] = value
        # Built with the old size; Lightning's finder asks for the loader again.
        self.loaders.pop("train", None)

    def loader(self, stage: str) -> Any:
        """Return the loader of ``train``, ``val`` or ``test``, built on first use.

        Raises:
            ArgumentError: It was not given, or cannot be built.
        """
        if stage in self.loaders_of_run:
            return self.loaders_of_run[stage]
        config, share = self.configs[stage], self._share()
        if config is None:
            # Lightning takes a data module's method for a loader, and an empty one for nothing to do.
            function = None if self.trainer is None else self.trainer.state.fn
            reads = f", and Trainer.{function.value} reads it" if function else ""
            raise ArgumentError(
                f"MMDataModule got no {stage}_dataloader{reads} → MMDataModule({stage}_dataloader=…) with a DataLoader "
                "or dict(dataset=…, sampler=…, batch_size=…)"
            )
        if isinstance(config, list):
            raise ArgumentError(
                f"{stage}_dataloader is a list of {len(config)} → a run evaluates several sets (mm2pl, or a Runner); "
                "under a Trainer of your own, give one"
            )
        if stage not in self.loaders or self._shares[stage] != share:
            # A sampler would draw it for its share alone.
            agreed = self.seed is None and share != get_dist_info()
            with sharing_data(*share), under_key(f"{stage}_dataloader"):
                seed = sync_random_seed() if agreed else self.seed
                self.loaders[stage] = build_dataloader(config, seed, self.diff_rank_seed)
            self._shares[stage] = share
        return self.loaders[stage]

    def _share(self) -> tuple[int, int]:
        """Return which share of the data this process takes, and of how many."""
        given = self.trainer.distributed_sampler_kwargs if self.trainer is not None else None
        return (given["rank"], given["num_replicas"]) if given else get_dist_info()

    def use_loader(self, stage: str, loader: Iterable[Any]) -> None:
        """Give the Trainer this loader of ``train``, ``val`` or ``test``: that of a run's loop."""
        self.loaders_of_run[stage] = loader

    def setup(self, stage: str) -> None:
        """Take over the transfer of batches from the module, since Lightning warns where both override it."""
        refuse_other_package(self.trainer)
        if stage == "fit" and self._goes_unvalidated():
            # Lightning would warn of an empty validation; its own method on the instance counts as none, see below.
            plain = MethodType(LightningDataModule.val_dataloader, self)
            self.val_dataloader = plain  # type: ignore[method-assign]
        module = self._trainers_module()
        if module is not None:
            leave_transfer_to_datamodule(module)

    def teardown(self, stage: str) -> None:
        """Give the transfer back to the module: in the next fit its loaders may come from elsewhere."""
        vars(self).pop("val_dataloader", None)
        module = self._trainers_module()
        if module is not None:
            vars(module).pop("transfer_batch_to_device", None)

    def _goes_unvalidated(self) -> bool:
        """Return whether nobody has given validation a loader: neither an argument, a run nor a subclass."""
        own = type(self).val_dataloader is not MMDataModule.val_dataloader
        return self.configs["val"] is None and "val" not in self.loaders_of_run and not own

    def _trainers_module(self) -> MMLightningModule | None:
        """Return the Trainer's module, if it is ours and no run drives it."""
        module = self.trainer.lightning_module if self.trainer is not None else None
        # In a run, `RunCallback.attach` has taken over the transfer, for as long as the module lives.
        in_own_trainer = isinstance(module, MMLightningModule) and not module.driver.exact
        return module if in_own_trainer else None  # type: ignore[return-value]

    def train_dataloader(self) -> Any:
        """Return the training loader, or the stream that a config-driven run has put in its place."""
        if "train" in self.loaders_of_run:
            return self.loaders_of_run["train"]
        # With `overfit_batches`, Lightning puts in a sampler that takes the first batches in order, and deals them out.
        if getattr(self.trainer, "overfit_batches", None):
            return self.loader("train")
        return self._view("train", fits=True)

    def val_dataloader(self) -> Any:
        """Return the validation loader; ``[]`` if a fit has none."""
        fits = self.trainer is not None and self.trainer.state.fn == "fit"
        # A subclass's `setup` may have left out ours, after which Lightning asks only where there is one.
        return [] if fits and self._goes_unvalidated() else self._view("val", fits=True)

    def test_dataloader(self) -> Any:
        """Return the test loader."""
        return self._view("test")

    def predict_dataloader(self) -> Any:
        """Return the test loader, for ``mm2pl predict``; the training loader is never used for it."""
        return self._view("test")

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Let the module decide, by its class: an MMLightningModule wants batches raw, others on the device."""
        module = self.trainer.lightning_module  # type: ignore[union-attr]
        # The class's method, since `leave_transfer_to_datamodule` may have put another one on the instance.
        return type(module).transfer_batch_to_device(module, batch, device, dataloader_idx)

    def _view(self, stage: str, fits: bool = False) -> Any:
        """Return what Lightning takes as it is, unless a loader leaves it to Lightning to deal out the data.

        Raises:
            ValueError: A sampler that was made elsewhere deals for other processes than there are.
        """
        if stage in self.loaders_of_run:
            return EvalStream(self.loaders_of_run[stage])
        if fits and getattr(self.trainer, "reload_dataloaders_every_n_epochs", None):
            self.loaders.pop(stage, None)
        loader, config = self.loader(stage), self.configs[stage]
        share, dealt = self._share(), share_of(loader)
        if dealt is None and share[1] > 1 and isinstance(config, DataLoader):
            return loader
        if dealt not in (None, share):
            raise ArgumentError(
                f"a sampler made for process {dealt[0]} of {dealt[1]}, in process {share[0]} of {share[1]} → give "
                "MMDataModule the loader's dict, from which each process builds its own, or make the loader after the "
                "processes have met"
            )
        if stage != "train":
            return EvalStream(loader)
        return EndlessView(loader, self._trained) if never_ends(loader) else TrainView(loader)

    def _trained(self) -> int:
        """Return how many batches the Trainer has trained with."""
        if self.trainer is None:
            return 0
        total: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return total.processed


def leave_transfer_to_datamodule(module: MMLightningModule) -> None:
    """Hide that the module leaves batches raw, as Lightning would warn that :class:`MMDataModule` does so too.

    Args:
        module: Of a run; one whose class moves batches in its own way is left alone.
    """
    if type(module).transfer_batch_to_device is MMLightningModule.transfer_batch_to_device:
        # Lightning's `is_overridden` compares code objects, so its own function on the instance counts as none.
        plain = MethodType(LightningModule.transfer_batch_to_device, module)
        module.transfer_batch_to_device = plain  # type: ignore[method-assign]


_BATCH_HOOKS = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
_STEPS = ("training_step", "validation_step", "test_step", "predict_step")


def batches_stay_raw(module: MMLightningModule, datamodule: LightningDataModule) -> bool:
    """Return whether nothing of a user's stands between loader and model, so that the lean loops may skip asking."""
    return not any(
        getattr(type(part), name) not in (getattr(base, name), getattr(plain, name))
        for part, base, plain, names in (
            (module, MMLightningModule, LightningModule, _BATCH_HOOKS),
            (module, MMLightningModule, MMLightningModule, _STEPS),
            (datamodule, MMDataModule, LightningDataModule, _BATCH_HOOKS),
        )
        for name in names
    )
