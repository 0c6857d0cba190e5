"""`mm2pl._strategy`: MMEngine's strategies can be imported and derived from, and say what replaces them."""

from __future__ import annotations

import pytest
from lightning.pytorch.strategies import DDPStrategy, DeepSpeedStrategy, SingleDeviceStrategy

from mm2pl import _strategy as ours
from mm2pl.lightning.ddp import MMDDPStrategy
from mm2pl.runner import FlexibleRunner


class Own(ours.DeepSpeedStrategy):
    """As an engine package derives one."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


@pytest.mark.parametrize(
    ("cls", "instead"),
    [
        (ours.BaseStrategy, r"trainer=dict\(strategy=…\)"),
        (ours.SingleDeviceStrategy, "strategy=dict.type='SingleDeviceStrategy'"),
        (ours.DDPStrategy, "strategy=dict.type='DDPStrategy'"),
        (ours.FSDPStrategy, "strategy=dict.type='FSDPStrategy'"),
        (Own, "Own.…. .*strategy=dict.type='DeepSpeedStrategy'"),
        (ours.MMDeepSpeedEngineWrapper, "strategy=dict.type='DeepSpeedStrategy'"),
        (ours.ColossalAIStrategy, "Lightning has none for ColossalAI"),
        (ours.ColossalAIOptimWrapper, "Lightning has none for ColossalAI"),
        (ours.ColossalAIModelWrapper, "Lightning has none for ColossalAI"),
    ],
)
def test_made_by_hand_it_says_what_to_write(cls, instead):
    with pytest.raises(NotImplementedError, match=instead):
        cls(config={})


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (DDPStrategy, {"BaseStrategy", "DDPStrategy"}),
        (MMDDPStrategy, {"BaseStrategy", "DDPStrategy"}),
        (lambda: SingleDeviceStrategy("cpu"), {"BaseStrategy", "SingleDeviceStrategy"}),
        # Its own __init__ asks for the package deepspeed.
        (
            lambda: DeepSpeedStrategy.__new__(DeepSpeedStrategy),
            {"BaseStrategy", "DeepSpeedStrategy"},
        ),
        (object, set()),
    ],
)
def test_isinstance_knows_the_trainers_strategy(made, expected):
    strategy = made()
    names = ("BaseStrategy", "SingleDeviceStrategy", "DDPStrategy", "FSDPStrategy")
    names += ("DeepSpeedStrategy", "ColossalAIStrategy")
    # Lightning's DeepSpeedStrategy derives from its DDPStrategy; MMEngine's does not.
    found = {name for name in names if isinstance(strategy, getattr(ours, name))}
    assert (
        found - ({"DDPStrategy"} if isinstance(strategy, DeepSpeedStrategy) else set()) == expected
    )
    assert not isinstance(strategy, Own)


def test_a_flexible_runner_has_the_trainers(tmp_path):
    from torch import nn

    runner = FlexibleRunner(nn.Linear(1, 1), work_dir=str(tmp_path))
    assert runner.strategy is runner.trainer.strategy
    assert isinstance(runner.strategy, ours.BaseStrategy)
