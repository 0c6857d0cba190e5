"""The checkpoints of a 1.x runner."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from typing import Any

from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.mmcv.parallel import is_module_wrapper
from mm2pl.mmcv.runner.checkpoint import load_checkpoint, save_checkpoint


class Checkpoints:
    """The part of a runner that loads and saves."""

    model: nn.Module
    optimizer: Any
    logger: logging.Logger
    meta: dict[str, Any] | None
    unit: str
    _epoch: int
    _iter: int

    # MMCV 1.7.2 logs keys that do not match, and goes on: `load_from` often names a model with another head.
    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = ((r"^module.", ""),),
    ) -> Any:
        """Load weights into the model; return the checkpoint."""
        # Files of wrapped models carry 'module.'; MMCV 1.7.2 strips it by `revise_keys`.
        return load_checkpoint(
            bare_model(self.model), filename, map_location, strict, self.logger, list(revise_keys)
        )

    def resume(
        self, checkpoint: str, resume_optimizer: bool = True, map_location: Any = "default"
    ) -> None:
        """Continue where a checkpoint was written: weights, optimizers, counters and ``meta``."""
        # MMCV 1.7.2 loads to the current GPU, which then holds the
        # weights twice. Copying them there has the same effect.
        where = "cpu" if map_location == "default" else map_location
        loaded = self.load_checkpoint(checkpoint, map_location=where)
        meta = loaded["meta"]
        self._epoch, self._iter = meta["epoch"], meta["iter"]
        self._resume_meta(meta)
        if "optimizer" in loaded and resume_optimizer:
            self._load_optimizers(loaded["optimizer"])
        self.logger.info(f"resumed epoch {self._epoch}, iter {self._iter}")

    def _resume_meta(self, meta: dict[str, Any]) -> None:
        # MMCV 1.7.2 replaces the runner's meta: `hook_msgs` with the best score so far must survive a resume.
        self.meta = dict(meta)

    def _load_optimizers(self, states: Any) -> None:
        optimizers = _raw(self.optimizer)
        if isinstance(optimizers, dict):
            for name, optimizer in optimizers.items():
                optimizer.load_state_dict(states[name])
        elif optimizers is not None:
            optimizers.load_state_dict(states)
        else:
            raise ArgumentError(
                "the checkpoint has an optimizer, the runner none → resume_optimizer=False."
            )

    def save_checkpoint(
        self,
        out_dir: str,
        filename_tmpl: str = "",
        save_optimizer: bool = True,
        meta: dict[str, Any] | None = None,
        create_symlink: bool = True,
    ) -> None:
        """Write the model, its optimizers and ``meta``.

        Args:
            out_dir: The folder.
            filename_tmpl: The file's name, with the epoch or iteration for ``{}``.
            save_optimizer: Whether the optimizers are in the file.
            meta: What is stored too, with the runner's own ``meta``.
            create_symlink: Whether ``latest.pth`` points to the file.
        """
        # Hooks save before the counters go up, so the file's number is one more.
        number = (self._epoch if self.unit == "epoch" else self._iter) + 1
        content = {
            **(meta or {}),
            # The runner's meta wins over the caller's, as in MMCV 1.7.2.
            **(self.meta or {}),
            # MMCV 1.7.2 writes epoch + 1, but iter as it is. After an epoch `iter` counts all iterations already.
            # In an iteration run it is one too low: a run resumed from iter_100.pth does the 100th iteration again.
            "epoch": self._epoch + 1,
            "iter": self._iter,
        }
        name = (filename_tmpl or f"{self.unit}_{{}}.pth").format(number)
        path = os.path.join(out_dir, name)
        optimizer = _raw(self.optimizer) if save_optimizer else None
        save_checkpoint(self.model, path, optimizer=optimizer, meta=content)
        # Remote storage has no links; MMCV 1.7.2 asks its FileClient for `allow_symlink`.
        if create_symlink and "://" not in out_dir:
            _link(name, os.path.join(out_dir, "latest.pth"))


def bare_model(model: Any) -> Any:
    """Return the model inside a wrapper."""
    return model.module if is_module_wrapper(model) else model


def _raw(optimizer: object) -> Any:
    """Return the torch optimizers behind those that a Trainer has wrapped."""
    if isinstance(optimizer, dict):
        return {name: _raw(one) for name, one in optimizer.items()}
    # GradScaler, state dicts and `isinstance(…, Optimizer)` in 1.x code expect torch's own class.
    return optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer


def _link(name: str, link: str) -> None:
    """Let ``latest.pth`` be the newest checkpoint; a copy where links are not allowed."""
    try:
        # `exists` is False for a link whose checkpoint `max_keep_ckpts` has removed, and `symlink` would then fail.
        if os.path.lexists(link):
            os.remove(link)
        os.symlink(name, link)
    except OSError:
        shutil.copy(os.path.join(os.path.dirname(link), name), link)
