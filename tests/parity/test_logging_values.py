"""HistoryBuffer's statistics and MessageHub's values, to the last bit."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch

import mm2pl.logging as ours

pytestmark = pytest.mark.parity


@pytest.fixture(scope="module")
def theirs() -> Any:
    pytest.importorskip("mmengine")
    import mmengine.logging

    return mmengine.logging


def outcome(call: Any, *args: Any) -> Any:
    with np.errstate(all="ignore"):
        try:
            value = call(*args)
        except Exception as error:
            return type(error).__mro__[-3].__name__
    return value.dtype, float(value).hex()


def random_value(rng: random.Random, kind: str) -> Any:
    if kind == "int" or (kind == "mixed" and rng.random() < 0.5):
        return rng.randrange(-5, 1000)
    return rng.choice([rng.gauss(0, 1), rng.random() * 10 ** rng.randrange(-20, 20)])


@pytest.mark.parametrize("kind", ["int", "float", "mixed"])
@pytest.mark.parametrize("seed", range(20))
def test_statistics(theirs: Any, kind: str, seed: int) -> None:
    rng = random.Random(seed)
    start = [random_value(rng, kind) for _ in range(rng.choice([0, 0, 1, 5]))]
    max_length = rng.choice([7, 50, 1000000])
    buffers = [
        api.HistoryBuffer(list(start), [1] * len(start), max_length) for api in (ours, theirs)
    ]
    for _ in range(rng.choice([0, 1, 30, 300])):
        value, count = random_value(rng, kind), rng.choice([1, 1, 2, 0, 64])
        for buffer in buffers:
            buffer.update(value, count)
    for name in ("mean", "max", "min"):
        for window in (None, 0, 1, 5, 10, 49, 128, 10**7):
            mine, other = (outcome(b.statistics, name, window) for b in buffers)
            assert mine == other, (name, window)
    mine, other = (outcome(b.current) for b in buffers)
    assert mine == other


@pytest.mark.parametrize("seed", range(10))
def test_hubs(theirs: Any, seed: int) -> None:
    rng = random.Random(seed)
    hubs = [api.MessageHub("parity") for api in (ours, theirs)]
    casts = [
        float,
        np.float32,
        np.float64,
        lambda v: torch.tensor(v),
        lambda v: torch.tensor([v], dtype=torch.float16, requires_grad=True),
        lambda v: np.array([v]),
    ]
    for _ in range(100):
        key, count = rng.choice("abc"), rng.choice([1, 3])
        value = rng.choice(casts)(rng.gauss(0, 100))
        for hub in hubs:
            if rng.random() < 2:
                hub.update_scalars({key: {"value": value, "count": count}})
    for key in hubs[0].log_scalars:
        mine, other = (hub.get_scalar(key).data for hub in hubs)
        assert [a.tolist() for a in mine] == [a.tolist() for a in other]
        assert [a.dtype for a in mine] == [a.dtype for a in other]


def test_states_are_exchanged(theirs: Any, capsys: pytest.CaptureFixture[str]) -> None:
    mine, other = ours.MessageHub("mine"), theirs.MessageHub("other")
    for hub in (mine, other):
        hub.update_scalar("loss", 0.5)
        hub.update_info("iter", 3)
        hub.update_info("loop_stage", "train", resumed=False)
    back = ours.MessageHub("back")
    back.load_state_dict(other.state_dict())
    assert back.get_scalar("loss").current() == 0.5
    assert dict(back.runtime_info) == {"iter": 3}
    back.load_state_dict(other)
    assert back.get_info("loop_stage") == "train"
    again = theirs.MessageHub("again")
    mine.update_info("meta", {"palette": np.eye(2)})
    again.load_state_dict(mine.state_dict())
    assert again.get_info("iter") == 3
    assert torch.equal(again.get_info("meta")["palette"], torch.eye(2, dtype=torch.float64))
    assert again._resumed_keys == {"iter": True, "meta": True}
    capsys.readouterr()


def test_lines_are_the_same(theirs: Any, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    texts = []
    for name, api in (("ours", ours), ("theirs", theirs)):
        path = tmp_path / f"{name}.log"
        logger = api.MMLogger(name, log_file=str(path), log_level="DEBUG")
        for level in ("debug", "info", "warning", "warning"):
            getattr(logger, level)("Epoch(train) [1][10/20] lr: 1.0e-01")
        for handler in logger.handlers:
            handler.close()
        texts.append([line.split(" - ")[1:] for line in path.read_text().splitlines()])
    assert texts[0] == texts[1]
    assert len(texts[0]) == 3
    capsys.readouterr()
