"""A LightningDataModule of a user's own as the data of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import CombinedLoader

from mm2pl.config import as_config
from mm2pl.errors import ArgumentError
from mm2pl.lightning.private import dealt_out
from mm2pl.registry import DATASETS
from mm2pl.run.other_package import refuse_other_package

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

STAGES = ("train", "val", "test")


class GuestData:
    """Be to a run what an ``MMDataModule`` is, for a LightningDataModule that stays as it is.

    The Trainer is given the data module itself. The run takes its loaders when a stage begins, behind ``prepare_data``
    and ``setup``, and puts in the place of the training loader the stream that can go on inside an epoch.

    Args:
        datamodule: The data module.
        seed: Of the order in which several processes take the data.
    """

    def __init__(self, datamodule: LightningDataModule, seed: int) -> None:
        self.lightning_datamodule = datamodule
        self.seed = seed
        self.configs: dict[str, Any] = dict.fromkeys(STAGES)
        self._own: dict[str, Any] = {}
        self._reloaded: Any = None

    def collect(
        self, trainer: Trainer, stages: Iterable[str], reloaded: Callable[[str, Any], Any]
    ) -> None:
        """Take the loaders of these stages.

        Args:
            trainer: Whose verb begins.
            stages: Those that it goes through.
            reloaded: Takes a stage's loader that is made anew later, and returns what the Trainer is given.
        """
        self._reloaded = reloaded
        for stage in stages:
            self._own[stage] = getattr(self.lightning_datamodule, f"{stage}_dataloader")
            if self.configs[stage] is None:
                self.configs[stage] = self._make(trainer, stage)

    def _make(self, trainer: Trainer, stage: str) -> Any:
        """Return a loader of the data module's; each process gets its share.

        Raises:
            TypeError: There are several for one stage.
        """
        loader = self._own[stage]()
        if isinstance(loader, Mapping | list | tuple | CombinedLoader):
            raise ArgumentError(
                f"{type(self.lightning_datamodule).__name__}.{stage}_dataloader() returned a "
                f"{type(loader).__name__} of loaders → a run counts the batches of one → return one loader, "
                "of a ConcatDataset for instance"
            )
        return dealt_out(trainer, loader, stage == "train", self.seed)

    def use_loader(self, stage: str, loader: Any) -> None:
        """Give the Trainer this loader until the verb ends, or the Trainer wants a new one."""
        asked = False

        def dataloader() -> Any:
            nonlocal asked
            again, asked = asked, True
            trainer: Any = self.lightning_datamodule.trainer
            if again and stage in self._own and trainer.reload_dataloaders_every_n_epochs:
                self.configs[stage] = self._make(trainer, stage)
                return self._reloaded(stage, self.configs[stage])
            return loader

        vars(self.lightning_datamodule)[f"{stage}_dataloader"] = dataloader

    @contextmanager
    def lent(self, trainer: Trainer, verb: str) -> Iterator[None]:
        """Take back what :meth:`use_loader` has put in place, when a verb ends."""
        state, names = vars(self.lightning_datamodule), [f"{stage}_dataloader" for stage in STAGES]
        before = {name: state[name] for name in names if name in state}
        try:
            yield
        finally:
            for name in names:
                state.pop(name, None)
            state.update(before)


def build_data(given: Any, seed: int) -> GuestData:
    """Build the data module of a config's ``datamodule``: a dict with its type, or the object.

    Raises:
        TypeError: It is neither.
    """
    given = as_config(given)
    made = DATASETS.build(given) if isinstance(given, dict) else given
    refuse_other_package(made)
    if not isinstance(made, LightningDataModule):
        raise ArgumentError(
            f"datamodule={made!r:.80} → a LightningDataModule, or dict(type=…) of one, is needed; loaders stand in "
            "train_dataloader, val_dataloader, test_dataloader"
        )
    return GuestData(made, seed)
