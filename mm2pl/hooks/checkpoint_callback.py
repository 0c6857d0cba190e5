"""What Lightning asks its ``trainer.checkpoint_callback``, answered by a CheckpointHook."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lightning.pytorch.callbacks import Checkpoint

from mm2pl.hooks.checkpoint_memory import CheckpointMemory


class CheckpointCallback(Checkpoint):
    """Give the paths a CheckpointHook keeps the names that Lightning's ``ModelCheckpoint`` has."""

    key_indicators: list[str]
    last_ckpt: str | None
    out_dir: Any
    _best_score: float | None
    _memory: CheckpointMemory | Any = None  # None before training
    _restored: Mapping[str, Any] = MappingProxyType({})

    def get_best(self, key: str) -> str | None:
        """Return the path of the best checkpoint by the metric ``key``."""
        raise NotImplementedError

    def set_best(self, key: str, path: str | None) -> None:
        """Remember the path of the best checkpoint by the metric ``key``."""
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return what the message hub knows of this hook's checkpoints; a run of a config saves the whole hub."""
        if self._memory is None or not getattr(self, "is_callback", False):
            return {}
        return self._memory.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training begins."""
        self._restored = state_dict

    @property
    def best_model_path(self) -> str:
        """The best checkpoint of the (first) metric in ``save_best``, or an empty string."""
        best = self.get_best(self.key_indicators[0]) if self.key_indicators else None
        return best or ""

    @best_model_path.setter
    def best_model_path(self, path: str) -> None:  # a launcher that spawns processes hands it back
        if self.key_indicators:
            self.set_best(self.key_indicators[0], path or None)

    @property
    def best_model_score(self) -> float | None:
        """The score of the checkpoint saved last as the best."""
        return self._best_score

    @property
    def last_model_path(self) -> str:
        """The periodic checkpoint written last, or an empty string."""
        return self.last_ckpt or ""

    @property
    def dirpath(self) -> str | None:
        """The folder of the checkpoints, once training has begun."""
        return None if self.out_dir is None else str(self.out_dir)

    @property
    def monitor(self) -> str | None:
        """The (first) metric in ``save_best``."""
        return self.key_indicators[0] if self.key_indicators else None
