"""Random numbers go on where a checkpoint was written."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.checkpoint.random_state import (
    rng_state,
    set_rng_state,
)


def draw():
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        torch.rand(1).item(),
    )


@pytest.mark.parametrize("gauss", [False, True], ids=["", "half a gauss pair"])
def test_random_numbers_continue(tmp_path, gauss):
    if gauss:
        random.gauss(0, 1), np.random.randn()
    torch.save(rng_state(), tmp_path / "rng.pth")
    expected = [draw() for _ in range(3)]
    set_rng_state(torch.load(tmp_path / "rng.pth", weights_only=True))
    assert [draw() for _ in range(3)] == expected


@pytest.mark.gpu
def test_cuda_random_numbers_continue():
    torch.rand(1, device="cuda")
    state = rng_state()
    expected = torch.rand(3, device="cuda")
    set_rng_state(state)
    assert torch.equal(torch.rand(3, device="cuda"), expected)


def test_another_bit_generator_continues():
    before = np.random.get_bit_generator()
    np.random.set_bit_generator(np.random.PCG64(3))
    try:
        state = rng_state()
        first = np.random.rand(3).tolist()
        set_rng_state(state)
        assert np.random.rand(3).tolist() == first
    finally:
        np.random.set_bit_generator(before)


@pytest.mark.parametrize(
    ("part", "value"),
    [
        *(("numpy", 5), ("numpy", {}), ("numpy", {"words": torch.ones(2)}), ("torch", "x")),
        *(("torch", torch.ones(2)), ("python", None), ("python", {"version": 3, "words": [1]})),
    ],
)
def test_what_is_no_random_state_is_one_message(part, value):
    with pytest.raises(CheckpointError, match=r"random state in the checkpoint cannot be restored"):
        set_rng_state({**rng_state(), part: value})
