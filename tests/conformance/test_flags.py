"""Each flag of the Trainer does to a module of ours what it does to one written by hand."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from tests.conformance.subjects import PAIRS, assert_equal, fitted

pytestmark = [
    pytest.mark.filterwarnings("ignore::lightning.fabric.utilities.warnings.PossibleUserWarning"),
    pytest.mark.filterwarnings("ignore:You are trying to `self.log"),  # barebones
]

FLAGS: dict[str, dict[str, Any]] = {
    "none": {},
    "accumulate_grad_batches": {"accumulate_grad_batches": 3},
    "gradient_clip_val": {"gradient_clip_val": 0.1},
    "gradient_clip_algorithm": {"gradient_clip_val": 0.01, "gradient_clip_algorithm": "value"},
    "max_steps": {"max_steps": 11, "max_epochs": -1},
    "max_steps, accumulated": {"max_steps": 5, "max_epochs": -1, "accumulate_grad_batches": 2},
    "min_epochs": {"min_epochs": 2},
    "min_steps": {"min_steps": 20, "max_epochs": 2},
    "max_time": {"max_time": {"minutes": 9}},
    "limit_train_batches": {"limit_train_batches": 3},
    "limit_train_batches, a share": {"limit_train_batches": 0.5},
    "limit_val_batches": {"limit_val_batches": 1},
    "val_check_interval": {"val_check_interval": 3},
    "val_check_interval, a share": {"val_check_interval": 0.25},
    "val_check_interval, over epochs": {"val_check_interval": 5, "check_val_every_n_epoch": None},
    "check_val_every_n_epoch": {"check_val_every_n_epoch": 2},
    "fast_dev_run": {"fast_dev_run": True},
    "fast_dev_run, 3": {"fast_dev_run": 3},
    "overfit_batches": {"overfit_batches": 2},
    "num_sanity_val_steps": {"num_sanity_val_steps": 2},
    "precision bf16-mixed": {"precision": "bf16-mixed"},
    "precision bf16-true": {"precision": "bf16-true"},
    "precision 64-true": {"precision": "64-true"},
    "deterministic": {"deterministic": True},
    "benchmark": {"benchmark": False},
    "detect_anomaly": {"detect_anomaly": True},
    "barebones": {"barebones": True},
    "reload_dataloaders_every_n_epochs": {"reload_dataloaders_every_n_epochs": 1},
    "inference_mode": {"inference_mode": False},
    "profiler": {"profiler": "simple"},
    "log_every_n_steps": {"log_every_n_steps": 2},
    "use_distributed_sampler": {"use_distributed_sampler": False},
    "enable_progress_bar": {"enable_progress_bar": True},
    "enable_model_summary": {"enable_model_summary": True},
    "sync_batchnorm": {"sync_batchnorm": True},
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("flag", FLAGS)
def test_flag(flag: str, kind: str) -> None:
    make, theirs = PAIRS[kind]
    assert_equal(fitted(make(), **FLAGS[flag]), expected(flag, theirs))


@lru_cache(maxsize=2)
def expected(flag: str, make: Any) -> dict[str, Any]:
    return fitted(make(), **FLAGS[flag])
