"""Optimizer states spread over processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn

from mm2pl.optim import build_optim_wrapper


@pytest.fixture
def _one_process(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("_one_process")
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_is_built_from_a_name_and_equals_the_optimizer() -> None:
    weights = []
    for optimizer in (
        {"type": "AdamW"},
        {"type": "ZeroRedundancyOptimizer", "optimizer_type": "AdamW"},
    ):
        torch.manual_seed(0)
        model = nn.Linear(2, 1)
        cfg = {"optimizer": {**optimizer, "lr": 0.1}, "paramwise_cfg": {"bias_lr_mult": 2.0}}
        wrapper = build_optim_wrapper(model, cfg)
        for _ in range(3):
            wrapper.update_params(model(torch.ones(1, 2)).sum())
        assert len(wrapper.state_dict()["state"]) == 2
        weights.append([p.tolist() for p in model.parameters()])
    assert weights[0] == weights[1]
