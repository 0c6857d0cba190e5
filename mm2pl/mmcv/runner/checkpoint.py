"""Checkpoints of 1.x runs: a model's weights, its optimizers and ``meta``."""

from __future__ import annotations

import time
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mm2pl.checkpoint.loader import CheckpointLoader as CheckpointLoader
from mm2pl.checkpoint.loader import load_from_http as load_from_http
from mm2pl.checkpoint.loader import load_from_local as load_from_local
from mm2pl.checkpoint.loader import load_from_openmmlab as load_from_openmmlab
from mm2pl.checkpoint.loader import load_from_torchvision as load_from_torchvision
from mm2pl.checkpoint.model_zoo import get_deprecated_model_names as get_deprecated_model_names
from mm2pl.checkpoint.model_zoo import get_external_models as get_external_models
from mm2pl.checkpoint.model_zoo import get_mmcls_models as get_mmcls_models
from mm2pl.checkpoint.model_zoo import get_torchvision_models as get_torchvision_models
from mm2pl.checkpoint.weights import _load_checkpoint as _load_checkpoint
from mm2pl.checkpoint.weights import _load_checkpoint_with_prefix as _load_checkpoint_with_prefix
from mm2pl.checkpoint.weights import get_state_dict as get_state_dict
from mm2pl.checkpoint.weights import load_checkpoint as load_checkpoint
from mm2pl.checkpoint.weights import load_state_dict as load_state_dict
from mm2pl.checkpoint.weights import weights_to_cpu as weights_to_cpu
from mm2pl.checkpoint.writer import save_checkpoint as write_checkpoint
from mm2pl.dist import get_dist_info as get_dist_info
from mm2pl.mmcv.parallel import is_module_wrapper
from mm2pl.utils import mkdir_or_exist as mkdir_or_exist
from mm2pl.version import __version__


def save_checkpoint(
    model: nn.Module,
    filename: str,
    optimizer: Optimizer | dict[str, Optimizer] | None = None,
    meta: dict[str, Any] | None = None,
    file_client_args: dict[str, Any] | None = None,
) -> None:
    """Write a model's weights, and its optimizers; stands for `mmcv.runner.save_checkpoint`.

    Args:
        model: The model; of a wrapped one the wrapped is saved.
        filename: A path or URI; an older file stays until the new one is complete.
        optimizer: One, or several by name.
        meta: What is stored too, completed by the time and the model's ``CLASSES``. Not changed.
        file_client_args: Arguments of the storage backend.
    """
    # MMCV 1.7.2 saves names without the wrapper's 'module.', so that a file loads into wrapped and bare models.
    if is_module_wrapper(model):
        model = model.module  # type: ignore[assignment]
    meta = {**(meta or {}), "mm2pl_version": __version__, "time": time.asctime()}
    # MMDetection 2's and MMSegmentation 0.x' `init_detector` read the class names from meta['CLASSES'].
    if getattr(model, "CLASSES", None) is not None:
        meta["CLASSES"] = model.CLASSES
    checkpoint = {"meta": meta, "state_dict": weights_to_cpu(get_state_dict(model))}
    if isinstance(optimizer, Optimizer):
        checkpoint["optimizer"] = optimizer.state_dict()
    elif isinstance(optimizer, dict):
        checkpoint["optimizer"] = {name: one.state_dict() for name, one in optimizer.items()}
    write_checkpoint(checkpoint, filename, backend_args=file_client_args)
