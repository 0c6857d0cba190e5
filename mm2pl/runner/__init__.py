"""The Runner, its loops, checkpoints and log lines.

Names are imported on first use: the checkpoint functions are needed without Lightning, and by the bridge itself.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mm2pl.model import turn_on_activation_checkpointing as turn_on_activation_checkpointing
    from mm2pl.optim.optimizer.autocast import autocast as autocast
    from mm2pl.runner.checkpoint import CheckpointLoader as CheckpointLoader
    from mm2pl.runner.checkpoint import find_latest_checkpoint as find_latest_checkpoint
    from mm2pl.runner.checkpoint import get_state_dict as get_state_dict
    from mm2pl.runner.checkpoint import load_checkpoint as load_checkpoint
    from mm2pl.runner.checkpoint import load_state_dict as load_state_dict
    from mm2pl.runner.checkpoint import save_checkpoint as save_checkpoint
    from mm2pl.runner.checkpoint import weights_to_cpu as weights_to_cpu
    from mm2pl.runner.checkpoint_loader import CheckpointError as CheckpointError
    from mm2pl.runner.environment import set_random_seed as set_random_seed
    from mm2pl.runner.flexible_runner import FlexibleRunner as FlexibleRunner
    from mm2pl.runner.log_processor import LogProcessor as LogProcessor
    from mm2pl.runner.loops import BaseLoop as BaseLoop
    from mm2pl.runner.loops import EpochBasedTrainLoop as EpochBasedTrainLoop
    from mm2pl.runner.loops import IterBasedTrainLoop as IterBasedTrainLoop
    from mm2pl.runner.loops import TestLoop as TestLoop
    from mm2pl.runner.loops import ValLoop as ValLoop
    from mm2pl.runner.model_zoo import get_deprecated_model_names as get_deprecated_model_names
    from mm2pl.runner.model_zoo import get_external_models as get_external_models
    from mm2pl.runner.model_zoo import get_mmcls_models as get_mmcls_models
    from mm2pl.runner.model_zoo import get_torchvision_models as get_torchvision_models
    from mm2pl.runner.priority import Priority as Priority
    from mm2pl.runner.priority import get_priority as get_priority
    from mm2pl.runner.runner import Runner as Runner

_HOMES = {
    "mm2pl.optim.optimizer.autocast": ("autocast",),
    "mm2pl.runner.checkpoint": (
        "CheckpointLoader",
        "_load_checkpoint",
        "_load_checkpoint_with_prefix",
        "find_latest_checkpoint",
        "get_state_dict",
        "load_checkpoint",
        "load_state_dict",
        "save_checkpoint",
        "weights_to_cpu",
    ),
    "mm2pl.runner.checkpoint_loader": ("CheckpointError",),
    "mm2pl.runner.environment": ("set_random_seed",),
    "mm2pl.runner.flexible_runner": ("FlexibleRunner",),
    "mm2pl.runner.log_processor": ("LogProcessor",),
    "mm2pl.runner.loops": (
        "BaseLoop",
        "EpochBasedTrainLoop",
        "IterBasedTrainLoop",
        "TestLoop",
        "ValLoop",
    ),
    "mm2pl.model": ("turn_on_activation_checkpointing",),
    "mm2pl.runner.model_zoo": (
        "get_deprecated_model_names",
        "get_external_models",
        "get_mmcls_models",
        "get_torchvision_models",
    ),
    "mm2pl.runner.priority": ("Priority", "get_priority"),
    "mm2pl.runner.runner": ("Runner",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(name for name in _HOME_OF if not name.startswith("_"))


def __getattr__(name: str) -> Any:
    """Import a public name from its module, once."""
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOME_OF[name]), name)
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return __all__
