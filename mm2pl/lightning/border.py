"""Where a module's results and checkpoints cross into the Trainer; only there do files have MMEngine's form."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, Timer

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint.alike import require_alike, require_own_kind
from mm2pl.checkpoint.kinds import with_own_states
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.names import fits, to_file, to_module
from mm2pl.checkpoint.plain import to_plain
from mm2pl.checkpoint.reader import is_sharded, naming
from mm2pl.checkpoint.schema import check
from mm2pl.checkpoint.snapshot import Snapshot, SnapshotMemory
from mm2pl.lightning.best_files import keep_own_files
from mm2pl.lightning.checkpoint_io import MMCheckpointIO
from mm2pl.lightning.private import loads_by_name
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.strategies import Strategy

    from mm2pl.lightning.driver import ModuleDriver

_KNOWN = [each.state_dict for each in (EarlyStopping, ModelCheckpoint, Timer)]


class Border:
    """Note what a training step returns, complete what a strategy writes, and take up what it reads.

    It stands in the place of five public methods of one strategy, for modules of ours. No hook would do: users override
    those of the module, callbacks are not asked for a file with weights only, and the plugin that writes
    (``checkpoint_io``) is called in the first process alone, MMEngine's ``before_save_checkpoint`` in all of them.
    """

    METHODS = (
        "training_step",
        "lightning_module_state_dict",
        "save_checkpoint",
        "load_checkpoint",
        "load_optimizer_state_dict",
    )

    driver: Any

    def __init__(self, strategy: Strategy) -> None:
        self.strategy = strategy
        self._memory = SnapshotMemory()

    @classmethod
    def stand_at(cls, trainer: Trainer, driver: ModuleDriver) -> None:
        """Stand at the Trainer's strategy from now on, for this driver's module."""
        strategy = trainer.strategy
        method: Any = vars(strategy).get("save_checkpoint")
        border: Any = getattr(method, "__self__", None)
        if border is None:
            border = cls(strategy)
            for name in cls.METHODS:
                setattr(strategy, name, getattr(border, name))
        border.driver = driver

    def _usual(self, method: str) -> Any:
        return getattr(type(self.strategy), method).__get__(self.strategy)

    @property
    def _driver(self) -> Any:
        """Who drives the Trainer's module, if it is not one that nobody here drives."""
        module = self.strategy.lightning_module
        return self.driver if self.driver.module.lightning_module is module else None

    @property
    def _keeps_names(self) -> bool:
        return self._driver.module.follows_lightning

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Run a step, and publish what it returns before a callback asks: Lightning will divide its loss."""
        strategy: Any = self.strategy
        outputs = type(strategy).training_step(strategy, *args, **kwargs)
        driver = self._driver
        if driver is not None:
            driver.publish(outputs)
        return outputs

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Begin a file: what belongs to the batch that has just been trained on is done first."""
        if self._driver is not None:
            self._driver.settle_for_file()
        return self._usual("lightning_module_state_dict")()

    def save_checkpoint(
        self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None
    ) -> None:
        """Complete a checkpoint and write it; every process comes here."""
        if self._driver is not None:
            trainer = self._driver.trainer
            if not self._keeps_names and not loads_by_name(self.strategy):
                checkpoint["state_dict"] = to_file(checkpoint["state_dict"])
            runner_of(trainer).complete_checkpoint(checkpoint)
            if runner_of(trainer).writes_later:
                checkpoint = self._as_it_is(checkpoint)
        self._usual("save_checkpoint")(checkpoint, filepath, storage_options=storage_options)

    def _as_it_is(self, checkpoint: dict[str, Any]) -> Any:
        """Return a checkpoint for a plugin that lets another write it later."""
        if not self.strategy.is_global_zero:  # which does not write
            return checkpoint
        plugin: Any = self.strategy.checkpoint_io
        if isinstance(plugin.checkpoint_io, MMCheckpointIO):
            return Snapshot(checkpoint, self._memory)
        # Lightning's AsyncCheckpointIO copies tensors alone; a hook may change its arrays.
        return to_plain(checkpoint)

    def load_checkpoint(self, checkpoint_path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Read a checkpoint of both worlds, and hand the Trainer the part that is Lightning's."""
        if is_sharded(checkpoint_path) and self.strategy.lightning_restore_optimizer:
            # Saved by processes that each had a part of the model; here one has all of it.
            checkpoint = CheckpointLoader.load_checkpoint(checkpoint_path)
        else:
            checkpoint = self._usual("load_checkpoint")(checkpoint_path, *args, **kwargs)
        if self._driver is None:
            return checkpoint
        check(checkpoint, str(checkpoint_path), whole=self._driver.trainer.state.fn == "fit")
        if not self.strategy.lightning_restore_optimizer and self.strategy.optimizers:
            # It has put the states back; from here on the checkpoint is like any other.
            states = [optimizer.state_dict() for optimizer in self.strategy.optimizers]
            checkpoint["optimizer_states"] = states
        if checkpoint.get("optimizer_states") and "optimizer" in checkpoint:
            # The one file of a run that shards its model has them in Lightning's entry only.
            states = checkpoint["optimizer_states"]
            checkpoint["optimizer"] = with_own_states(checkpoint["optimizer"], states)
        checkpoint = files.from_mmengine(checkpoint, resume=False)
        callbacks = checkpoint.get("callbacks") or {}
        if "RunCallback" in callbacks:  # which wrote the hooks' states in files of mm2pl 0.1
            callbacks.setdefault("RunDriver", callbacks["RunCallback"])
        with naming(os.fspath(checkpoint_path)):
            for callback in self._driver.trainer.callbacks:
                _require_own_kind(callback, callbacks)
                keep_own_files(callback, callbacks, os.fspath(checkpoint_path))
        module, weights = self._driver.module, checkpoint.get("state_dict")
        if weights and not self._keeps_names:
            as_module, as_file = fits(weights, module.own_names())
            checkpoint["state_dict"] = to_file(weights) if as_module > as_file else weights
        # What is put into the schedules from here on must be put into those that train.
        self._driver.catch_up()
        runner_of(self._driver.trainer).accept_checkpoint(checkpoint)
        self._driver.accept(checkpoint)
        if weights and not self._keeps_names:
            # A hook of the user's module sees names of the module, as it would with Lightning's own files.
            checkpoint["state_dict"] = to_module(checkpoint["state_dict"])
        return checkpoint

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Restore the optimizers from what fits of a checkpoint; only now callbacks have added all their groups."""
        if self._driver is not None:
            with naming(str(self._driver.trainer.ckpt_path or "The checkpoint")):
                self._driver.fit_optimizers(checkpoint)
        self._usual("load_optimizer_state_dict")(checkpoint)


def _require_own_kind(callback: Callback, states: dict[str, Any]) -> None:
    """Refuse a callback's state of another kind; Lightning 2.6 hands it over as it is.

    Raises:
        CheckpointError: Naming the place, what was found and what is needed.
    """
    state = states.get(callback.state_key)
    if not state:
        return  # Lightning asks the same
    place = f"callbacks.{callback.state_key}"
    require_alike({}, state, place)  # Lightning's callbacks return dicts
    require_own_kind(callback, _KNOWN, state, place)
