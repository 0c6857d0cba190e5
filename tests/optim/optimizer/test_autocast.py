"""Mixed precision as a context."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mm2pl.optim.optimizer.autocast import autocast

WEIGHT = torch.ones(2, 2)


@pytest.mark.parametrize(
    ("kwargs", "dtype"),
    [
        ({"device_type": "cpu"}, torch.bfloat16),
        ({"device_type": "cpu", "dtype": torch.bfloat16, "cache_enabled": False}, torch.bfloat16),
        ({"device_type": "cpu", "enabled": False}, torch.float32),
        ({"device_type": "cpu", "enabled": False, "dtype": torch.bfloat16}, torch.float32),
    ],
    ids=["default", "bfloat16", "off", "off with dtype"],
)
def test_casts(kwargs: dict[str, Any], dtype: torch.dtype) -> None:
    with autocast(**kwargs):
        assert (WEIGHT @ WEIGHT).dtype == dtype


@pytest.mark.parametrize("error", [RuntimeError, AssertionError])
def test_a_cpu_does_not_cast_to_float16(error: type[Exception]) -> None:
    with pytest.raises(error, match=r"dtype=torch\.float16 on a CPU"):
        autocast("cpu", torch.float16)
