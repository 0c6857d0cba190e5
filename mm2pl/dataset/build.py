"""The data of one split of a config, outside of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from mm2pl.dataset.loader import build_dataloader
from mm2pl.errors import ArgumentError, UserError
from mm2pl.registry import DefaultScope


@contextmanager
def data_of(cfg: Mapping[str, Any], split: str, advice: str = "") -> Iterator[DataLoader]:
    """Build ``<split>_dataloader`` of a config, in its default scope and with its seed, for one process.

    Args:
        cfg: The config.
        split: ``train``, ``val`` or ``test``.
        advice: What to do where the data cannot be read, for the message.

    Raises:
        ArgumentError: The config has no such loader, or the data set fails, here or inside.
    """
    key = f"{split}_dataloader"
    loader = cfg.get(key)
    if not loader:
        raise ArgumentError(f"the config has no `{key}` → add it, or name a split that has one")
    seed = (cfg.get("randomness") or {}).get("seed")
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
            yield build_dataloader(loader, seed)
    except UserError:
        raise
    # Anything that a data set of the user's raises where its files are missing.
    except Exception as error:
        hint = f" → {advice}" if advice else ""
        raise ArgumentError(
            f"{key} cannot be read ({type(error).__name__}: {error}){hint}"
        ) from error
