"""Any hook of a LightningModule may be overridden, without ``super()``, and training stays what it was."""

from __future__ import annotations

import inspect
from functools import cache
from typing import Any

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.core.hooks import CheckpointHooks, DataHooks, ModelHooks

from mm2pl.evaluator import BaseMetric
from mm2pl.lightning import MMLightningModule
from tests.conformance.subjects import assert_equal, fitted, ours

LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
STEPS = (
    *("backward", "optimizer_step", "optimizer_zero_grad", "configure_gradient_clipping"),
    *("lr_scheduler_step", "configure_callbacks", "clip_gradients", "forward"),
)
HOOKS = sorted(
    {
        name
        for cls in (ModelHooks, DataHooks, CheckpointHooks)
        for name, _ in inspect.getmembers(cls, inspect.isfunction)
        if not name.startswith("_") and name not in LOADERS
    }.union(STEPS)
)
CALLED_ELSEWHERE = {"forward"} | {
    name
    for name in HOOKS
    if any(word in name for word in ("test", "predict", "checkpoint", "sharded"))
    or name in ("on_validation_model_train", "on_validation_model_eval")
}


class Share(BaseMetric):
    """The share of right answers."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        right = data_batch["labels"] == data_samples[0].new_tensor(data_samples)
        self.results.extend(right.tolist())

    def compute_metrics(self, results: list) -> dict:
        return {"val_share": sum(results) / len(results)}


OPTIONS: dict[str, Any] = {
    "val_evaluator": Share(),
    "param_scheduler": [
        {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 6},
        {"type": "MultiStepLR", "milestones": [1, 2], "gamma": 0.5, "by_epoch": True},
    ],
}


@cache
def expected() -> dict[str, Any]:
    return fitted(ours(**OPTIONS))


@pytest.mark.parametrize("hook", HOOKS)
def test_hook_overridden_without_super(hook: str) -> None:
    called = []
    usual = getattr(LightningModule, hook)

    def override(self: Any, *args: Any, **kwargs: Any) -> Any:
        called.append(hook)
        return usual(self, *args, **kwargs)

    override.__signature__ = inspect.signature(usual)  # type: ignore[attr-defined]
    made = ours(type("Overridden", (MMLightningModule,), {hook: override}), **OPTIONS)
    assert_equal(fitted(made), expected())
    assert called or hook in CALLED_ELSEWHERE
