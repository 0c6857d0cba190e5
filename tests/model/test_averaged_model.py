"""Averages of weights, and that they do not wait for a device."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from mm2pl.model import (
    BaseAveragedModel,
    ExponentialMovingAverage,
    MomentumAnnealingEMA,
    StochasticWeightAverage,
)
from mm2pl.registry import MODELS


def net():
    return nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))


def set_all(model, value):
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.fill_(value)
    return model


def averaged(average, values, read=lambda a: a.module[0].weight.item()):
    model = net().to(average.module[0].weight.dtype)
    out = []
    for value in values:
        average.update_parameters(set_all(model, value))
        out.append(read(average))
    return out


@pytest.mark.parametrize(
    ("cls", "kwargs", "expected"),
    [
        (StochasticWeightAverage, {}, [1.0, 2.0, 3.0, 4.0]),
        (StochasticWeightAverage, {"interval": 2}, [1.0, 1.0, 3.0, 3.0]),
        (ExponentialMovingAverage, {"momentum": 0.5}, [1.0, 2.0, 3.5, 5.25]),
        (ExponentialMovingAverage, {"momentum": 0.5, "interval": 3}, [1.0, 1.0, 1.0, 4.0]),
        (MomentumAnnealingEMA, {"momentum": 0.25, "gamma": 1}, [1.0, 2.0, 3.0, 4.0]),
        (MomentumAnnealingEMA, {"momentum": 0.4, "gamma": 1}, [1.0, 2.0, 3.2, 4.72]),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else getattr(value, "__name__", ""),
)
def test_values(cls, kwargs, expected):
    assert averaged(cls(net(), **kwargs), [1, 3, 5, 7]) == pytest.approx(expected, rel=1e-6)


def test_buffers_are_copied():
    average = ExponentialMovingAverage(net(), momentum=0.5)
    assert averaged(average, [1, 3], lambda a: a.module[1].running_mean.item()) == [1, 3]
    assert average.module[1].num_batches_tracked.item() == 3


def test_buffers_are_averaged_on_request():
    average = ExponentialMovingAverage(net(), momentum=0.5, update_buffers=True)
    assert averaged(average, [1, 3], lambda a: a.module[1].running_mean.item()) == [1, 2]
    assert average.module[1].num_batches_tracked.item() == 1


def test_the_state_dict_is_mmengines():
    average = ExponentialMovingAverage(nn.Linear(1, 1))
    assert list(average.state_dict()) == ["steps", "module.weight", "module.bias"]
    assert list(average.avg_parameters) == ["weight", "bias"]


def test_it_is_a_copy_without_gradients():
    model = net()
    average = StochasticWeightAverage(model)
    assert average.module is not model
    assert not any(param.requires_grad for param in average.parameters())
    average.eval()
    assert torch.equal(average(torch.ones(1, 1)), average.module(torch.ones(1, 1)))


def test_a_loaded_count_is_followed():
    average, other = (ExponentialMovingAverage(net(), momentum=0.5) for _ in range(2))
    averaged(average, [1, 3])
    other.load_state_dict(average.state_dict())
    assert averaged(other, [6]) == [4.0]
    assert other.steps.item() == 3


@pytest.mark.parametrize(
    "write",
    [
        lambda a: a.steps.fill_(0),
        lambda a: setattr(a, "steps", torch.tensor(0)),
        lambda a: a.load_state_dict({**a.state_dict(), "steps": torch.tensor(0)}),
    ],
    ids=["in place", "replaced", "loaded"],
)
def test_a_count_written_from_outside_is_noticed(write):
    average = ExponentialMovingAverage(net(), momentum=0.5)
    averaged(average, [1, 3])
    write(average)
    assert averaged(average, [9]) == [9.0]


def test_a_copy_goes_on_by_itself():
    average = ExponentialMovingAverage(net(), momentum=0.5, update_buffers=True)
    averaged(average, [1])
    other = copy.deepcopy(average)
    assert averaged(other, [3]) == [2.0]
    assert averaged(average, [5]) == [3.0]


@pytest.mark.parametrize("update_buffers", [False, True])
@pytest.mark.parametrize("replace", [False, True], ids=["kept", "replaced"])
def test_after_a_move_the_moved_weights_are_averaged(update_buffers, replace):
    average = ExponentialMovingAverage(net(), momentum=0.5, update_buffers=update_buffers)
    averaged(average, [1, 1])
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(replace)
    try:
        average.double()
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(before)
    assert averaged(average, [3]) == [2.0]
    assert average.module[0].weight.dtype == torch.float64


class Quarter(BaseAveragedModel):
    def avg_func(self, averaged_param, source_param, steps):
        averaged_param.copy_(source_param / 4 + steps.item())


def test_a_subclass_writes_its_own_average():
    assert averaged(Quarter(net()), [4, 8, 8]) == [4.0, 3.0, 4.0]


class Counting(torch.Tensor):
    """A count on a device that must not be asked."""

    asked = 0

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        if func.__name__ in ("item", "__int__", "__bool__", "__index__", "__float__"):
            cls.asked += 1
        return super().__torch_function__(func, types, args, kwargs or {})


def test_the_count_is_read_back_once():
    average = ExponentialMovingAverage(net(), momentum=0.5)
    average.steps = torch.tensor(0).as_subclass(Counting)
    assert averaged(average, [1, 3, 5]) == [1.0, 2.0, 3.5]
    assert Counting.asked == 1


@pytest.mark.gpu
@pytest.mark.parametrize(
    "cls", [StochasticWeightAverage, ExponentialMovingAverage, MomentumAnnealingEMA]
)
def test_an_update_does_not_wait_for_the_device(cls):
    model = net().cuda()
    average = cls(model)
    average.update_parameters(model)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            average.update_parameters(model)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert average.steps.item() == 4


@pytest.mark.parametrize(
    ("cls", "kwargs", "message"),
    [
        (ExponentialMovingAverage, {"momentum": 0.0}, r"range \(0.0, 1.0\) but got 0.0"),
        (ExponentialMovingAverage, {"momentum": 1.0}, r"range \(0.0, 1.0\) but got 1.0"),
        (MomentumAnnealingEMA, {"gamma": 0}, "gamma must be greater than 0, but got 0"),
    ],
    ids=["zero", "one", "gamma"],
)
def test_wrong_arguments(cls, kwargs, message):
    with pytest.raises(AssertionError, match=message):
        cls(net(), **kwargs)


def test_a_large_momentum_is_doubted(capsys):
    ExponentialMovingAverage(net(), momentum=0.9)
    assert "momentum in EMA is usually a small number" in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "name", ["StochasticWeightAverage", "ExponentialMovingAverage", "MomentumAnnealingEMA"]
)
def test_they_are_registered(name):
    assert isinstance(MODELS.build({"type": name, "model": net()}), BaseAveragedModel)
