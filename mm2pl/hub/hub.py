"""Read the configs that a toolbox was installed with, and build their models."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from mm2pl.checkpoint.weights import load_checkpoint
from mm2pl.config import Config
from mm2pl.config.packages import package_config, split_package_path
from mm2pl.errors import ReadableKeyError
from mm2pl.infer.metafile import models
from mm2pl.registry import MODELS, DefaultScope
from mm2pl.registry.known import require_known


def get_config(cfg_path: str, pretrained: bool = False) -> Config:
    """Read a config of an installed toolbox; nothing is installed or downloaded.

    Args:
        cfg_path: ``package::path``, such as ``mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py``.
        pretrained: Also look up the address of its weights, as ``cfg.model_path``.

    Raises:
        ConfigModuleNotFoundError: The toolbox is not installed.
        ConfigFileNotFoundError: It has no such config.
        ReadableKeyError: Its metafiles list no weights for that config.
    """
    path, folder, _ = package_config(cfg_path)
    cfg = Config.fromfile(path)
    if pretrained:
        cfg.model_path = _weights(cfg_path, Path(folder).parent)
    return cfg


def get_model(cfg_path: str, pretrained: bool = False, **kwargs: Any) -> nn.Module:
    """Build the model of an installed toolbox's config.

    Args:
        cfg_path: As for :func:`get_config`.
        pretrained: Also load its weights, from the network or torch's cache; ``init_weights`` then leaves them alone.
        kwargs: Default arguments of the model.

    Raises:
        ConfigModuleNotFoundError: The toolbox is not installed.
        ReadableKeyError: Weights are wanted, and its metafiles list none.
        UnknownNameError: The config names what is neither registered nor a class of an imported package.
    """
    package, _ = split_package_path(cfg_path)
    cfg = get_config(cfg_path, pretrained)
    with DefaultScope.overwrite_default_scope(package):
        if "data_preprocessor" in cfg:
            cfg.model.data_preprocessor = cfg.data_preprocessor
        # False, as the scope is set above. MMEngine 0.10.7 lets the toolbox change it for good.
        import_module(f"{package}.utils").register_all_modules(False)
        require_known({"model": cfg.model}, cfg_path, "build the model yourself from get_config")
        model: nn.Module = MODELS.build(cfg.model, default_args=kwargs)
    if pretrained:
        load_checkpoint(model, cfg.model_path)
        # BaseModule.init_weights then does nothing. Otherwise it would draw new weights.
        model._is_init = True  # type: ignore[assignment]
    return model


def _weights(cfg_path: str, folder: Path) -> str:
    name = split_package_path(cfg_path)[1]
    for entry in models(str(folder)):
        # A metafile's paths begin with `configs/`.
        if entry.get("Config", "").partition("/")[2] == name and entry.get("Weights"):
            weights = entry["Weights"]
            return weights[0] if isinstance(weights, list) else weights
    raise ReadableKeyError(
        f"{cfg_path!r}: {folder / 'model-index.yml'} lists no weights for this config → call without pretrained, and "
        "load a checkpoint of your own"
    )
