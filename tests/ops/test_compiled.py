"""Ours against what MMCV 2.1.0's compiled operators returned on a CPU (:mod:`tests.ops.compiled` has written it)."""

from __future__ import annotations

import json

import pytest
import torch

from tests.ops.compiled import CALLS, FILE, OURS, Given

GOLDEN = json.loads(FILE.read_text())
LIMITS = {torch.float64: 1e-12, torch.float32: 1e-6}


@pytest.mark.parametrize("name", CALLS)
def test_ours_are_the_compiled_ones(name: str) -> None:
    call, kinds = CALLS[name]
    found = call(OURS, Given(False, kinds[0]))
    assert [each.numel() for each in found] == [len(each) for each in GOLDEN[name]]
    for ours, values in zip(found, GOLDEN[name], strict=True):
        wanted = torch.tensor(values, dtype=ours.dtype)
        if ours.is_floating_point():
            limit = LIMITS[kinds[0]] * max(float(wanted.abs().max()), 1.0)
            assert torch.allclose(ours.flatten(), wanted, rtol=0, atol=limit)
        else:
            assert torch.equal(ours.flatten(), wanted)
