"""Build a model from its dict, and refuse one that lacks a step."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn

from mm2pl.config import as_config
from mm2pl.errors import ArgumentError
from mm2pl.model import turn_on_activation_checkpointing, turn_on_efficient_conv_bn_eval
from mm2pl.registry import MODELS
from mm2pl.run.other_package import refuse_other_package


def build_model(
    model: nn.Module | dict | None, data_preprocessor: nn.Module | dict | None = None
) -> nn.Module:
    """Build a model from its dict (a given module is returned as it is).

    Raises:
        TypeError: If ``model`` is neither a module nor a dict.
    """
    if model is None:
        raise ArgumentError(
            "MMLightningModule got no model → a torch.nn.Module or a dict(type=…) is needed. A checkpoint holds a "
            "model's dict only: load_from_checkpoint(path, model=…) takes the module again"
        )
    refuse_other_package(model)
    if isinstance(model, nn.Module):
        return model
    if not isinstance(model, dict):
        raise ArgumentError(
            f"model should be a torch.nn.Module or a dict(type=…), but got {model!r}"
        )
    model = dict(as_config(model))
    if data_preprocessor is not None:
        model.setdefault("data_preprocessor", data_preprocessor)
    return MODELS.build(model)


def change_model(model: nn.Module, options: Mapping[str, Any]) -> None:
    """Apply the options that change a model once its weights are initialised."""
    if layers := options.get("activation_checkpointing"):
        turn_on_activation_checkpointing(model, layers)
    if layers := options.get("efficient_conv_bn_eval"):
        turn_on_efficient_conv_bn_eval(model, layers)


def require_steps(model: nn.Module) -> None:
    """Refuse a model that can be neither trained nor evaluated.

    Raises:
        TypeError: It has none of a model's steps.
    """
    if not any(hasattr(model, step) for step in ("train_step", "val_step", "test_step")):
        raise ArgumentError(
            f"{type(model).__name__} has neither train_step nor val_step nor test_step → derive it from "
            "mm2pl.model.BaseModel, whose forward(…, mode='loss') returns a dict of losses, or from Lightning's "
            "LightningModule, with a training_step"
        )


def train_step(model: Any, batch: Any, optim_wrapper: Any) -> Any:
    """Return what the model's ``train_step`` returns for a batch.

    Raises:
        ArgumentError: It does not take ``optim_wrapper``, such as one of MMCV 1.x.
    """
    try:
        return model.train_step(batch, optim_wrapper=optim_wrapper)
    # The signature is read only after a failure, so that an iteration pays nothing for it.
    except TypeError as error:
        signature = inspect.signature(model.train_step)
        try:
            signature.bind(batch, optim_wrapper=optim_wrapper)
        except TypeError:
            raise ArgumentError(
                f"{type(model).__name__}.train_step{signature} is called as train_step(data, optim_wrapper=…) → if it "
                "is one of MMCV 1.x, derive the model from mm2pl.mmcv.MMCVModel, which runs it unchanged (`mm2pl "
                "migrate --code` does that); else name the parameter so, and call optim_wrapper.update_params(loss)"
            ) from error
        raise


VERBS = {"train": "train", "val": "validate", "test": "test"}


def require_step(model: nn.Module, stage: str) -> None:
    """Refuse a model that lacks the step of a stage.

    Raises:
        TypeError: It has none of a model's steps.
        ArgumentError: It has others.
    """
    require_steps(model)
    if not hasattr(model, f"{stage}_step"):
        raise ArgumentError(
            f"{type(model).__name__} has no {stage}_step → If you want to {VERBS[stage]} your model, give it one, or "
            f"derive it from mm2pl.model.BaseModel; else leave out {stage}_dataloader and {stage}_cfg"
        )
