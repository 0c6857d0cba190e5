"""The modules of MMEngine's runner room, under their own names."""

from __future__ import annotations

import importlib

import pytest
import torch

import mm2pl.runner


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("activation_checkpointing", ["turn_on_activation_checkpointing"]),
        ("amp", ["autocast"]),
        ("base_loop", ["BaseLoop"]),
        ("checkpoint", ["CheckpointLoader", "load_checkpoint", "find_latest_checkpoint"]),
        ("log_processor", ["LogProcessor"]),
        ("loops", ["EpochBasedTrainLoop", "IterBasedTrainLoop", "ValLoop", "TestLoop"]),
        ("priority", ["Priority", "get_priority"]),
        ("runner", ["Runner"]),
        ("utils", ["set_random_seed"]),
    ],
)
def test_a_name_is_the_same_by_either_path(module, names):
    found = importlib.import_module(f"mm2pl.runner.{module}")
    assert [getattr(found, name) for name in names] == [getattr(mm2pl.runner, n) for n in names]


def test_intervals():
    from mm2pl.runner.utils import calc_dynamic_intervals

    assert calc_dynamic_intervals(5, [(11, 2)]) == ([0, 11], [5, 2])


def test_autocast_takes_the_device_that_there_is(monkeypatch):
    monkeypatch.setattr("mm2pl.runner.amp.get_device", lambda: "mps")
    with mm2pl.runner.autocast(enabled=False):
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(
        ValueError, match=r"device_type must be cuda, .* but got 'mps' → enabled=False"
    ):
        mm2pl.runner.autocast()
