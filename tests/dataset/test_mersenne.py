from __future__ import annotations

import pytest
import torch

from mm2pl.dataset import mersenne


def _drawn(seed: int, length: int, count: int) -> torch.Generator:
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        torch.randperm(length, generator=generator)
    return generator


@pytest.mark.parametrize(
    ("seed", "length", "count"),
    [(0, 1, 1), (0, 2, 1), (5, 625, 1), (5, 624, 1), (7, 1000, 60), (2**31, 40_000, 3)],
)
def test_jump_equals_drawing(seed, length, count):
    jumped = torch.Generator().manual_seed(seed)
    mersenne.jump(jumped, count * (length - 1))
    drawn = _drawn(seed, length, count)
    for draw in (torch.rand, torch.randn):
        assert torch.equal(draw(2000, generator=jumped), draw(2000, generator=drawn))


@pytest.mark.parametrize("count", [3, 60])
def test_after_permutations_is_the_same_with_and_without_a_jump(count, monkeypatch):
    monkeypatch.setattr(mersenne, "WORTH_A_JUMP", 50_000)
    generator = mersenne.after_permutations(seed=9, length=1000, count=count)
    expected = torch.randperm(1000, generator=_drawn(9, 1000, count))
    assert torch.equal(torch.randperm(1000, generator=generator), expected)


def test_a_torch_that_draws_otherwise_is_noticed(monkeypatch):
    right, jump = mersenne._draws_of_a_permutation.__wrapped__, mersenne.jump
    assert right(10) == 9
    monkeypatch.setattr(mersenne, "jump", lambda generator, draws: jump(generator, draws + 1))
    assert right(10) is None


def test_such_a_torch_is_asked_for_every_permutation(monkeypatch):
    monkeypatch.setattr(mersenne, "WORTH_A_JUMP", 0)
    monkeypatch.setattr(mersenne, "_draws_of_a_permutation", lambda length: None)
    generator = mersenne.after_permutations(seed=9, length=10, count=4)
    expected = torch.rand(5, generator=_drawn(9, 10, 4))
    assert torch.equal(torch.rand(5, generator=generator), expected)
