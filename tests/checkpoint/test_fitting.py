"""What of a file's weights a model takes, and when it is refused."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.checkpoint.fitting import Differences, differences, take_weights, told_by_name
from mm2pl.checkpoint.reader import CheckpointError


def net(width: int = 2, last: int = 3) -> nn.Module:
    layers = OrderedDict(
        fc=nn.Linear(4, width), bn=nn.BatchNorm1d(width), head=nn.Linear(width, last)
    )
    return nn.Sequential(layers)


class Renaming(nn.Module):
    """Has old names for everything, and resizes, in the way of many models of OpenMMLab."""

    def __init__(self) -> None:
        super().__init__()
        self.new = net()

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        for key in [key for key in state_dict if key.startswith(f"{prefix}old.")]:
            state_dict[key.replace("old.", "new.")] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


class TrainedPart(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.head = nn.Linear(4, 4), nn.Linear(4, 2)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        full = super().state_dict(*args, **kwargs)
        return {key: value for key, value in full.items() if "head" in key}


def without(*names: str) -> dict[str, Any]:
    return {key: value for key, value in net().state_dict().items() if key not in names}


def prefixed(prefix: str) -> dict[str, Any]:
    return {prefix + key: value for key, value in net().state_dict().items()}


EXTRA = {"data_preprocessor.mean": torch.zeros(3), "data_preprocessor.std": torch.ones(3)}
TAKEN = {
    "same": (net().state_dict(), Differences()),
    "preprocessor of older files": (
        {**net().state_dict(), **EXTRA},
        Differences(unexpected=tuple(EXTRA)),
    ),
    "no num_batches_tracked": (without("bn.num_batches_tracked"), Differences()),
    "one missing": (without("fc.bias"), Differences(missing=("fc.bias",))),
    "prefix module.": (prefixed("module."), Differences()),
    "prefix model.": (prefixed("model."), Differences()),
    "prefix of torch.compile": (prefixed("_orig_mod."), Differences()),
    "only the trained part": (
        {key: value for key, value in net().state_dict().items() if "head" in key},
        Differences(missing=tuple(k for k in without("bn.num_batches_tracked") if "head" not in k)),
    ),
    "another number of classes": (
        net(last=5).state_dict(),
        Differences(shapes={"head.weight": ((5, 2), (3, 2)), "head.bias": ((5,), (3,))}),
    ),
}


@pytest.mark.parametrize(("given", "expected"), TAKEN.values(), ids=TAKEN)
def test_what_overlaps_is_taken_and_the_rest_reported(given, expected):
    model = net()
    own = {key: value.clone() for key, value in model.state_dict().items()}
    weights, found = take_weights(model, given, logger="silent")
    assert found == expected
    kept = {*expected.missing, *expected.shapes, "bn.num_batches_tracked"}
    names = {key: key.removeprefix("module.").removeprefix("model.") for key in given}
    for key, value in given.items():
        name = names[key].removeprefix("_orig_mod.")
        if name in own and name not in kept:
            assert torch.equal(weights[name], value)
    assert all(torch.equal(weights[name], own[name]) for name in kept)
    assert list(weights) == list(own)


def test_it_is_reported_as_mmengine_does(capsys):
    take_weights(net(), {**without("fc.bias"), **EXTRA})
    said = capsys.readouterr().out
    assert "unexpected key in source state_dict: data_preprocessor.mean, data_prep" in said
    assert "missing keys in source state_dict: fc.bias" in said


REFUSED = {
    "no common name": ({"x.weight": torch.ones(1)}, "none of its 1 keys"),
    "one of five": (
        {**{f"x{i}": torch.ones(1) for i in range(4)}, "fc.bias": torch.ones(2)},
        "do not fit Sequential: 7 missing.*4 unexpected.*load_from takes what fits",
    ),
    "other shapes": (net(width=7).state_dict(), r"fc.weight is \(7, 4\) in the file and \(2, 4\)"),
}


@pytest.mark.parametrize(("given", "message"), REFUSED.values(), ids=REFUSED)
def test_little_overlap_is_refused_and_nothing_changed(given, message):
    model = net()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=message):
        take_weights(model, given, logger="silent")
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_strict_module_refuses_any_difference_before_it_is_changed():
    model = net()
    bias = model.fc.bias.clone()
    with pytest.raises(CheckpointError, match=r"1 missing .fc.weight.*strict_loading is True"):
        take_weights(model, without("fc.weight"), strict=True)
    assert torch.equal(model.fc.bias, bias)


def test_names_that_the_model_converts_are_no_difference():
    given = {f"old.{key}": value for key, value in net().state_dict().items()}
    weights, found = take_weights(Renaming(), {**given, "new.fc.bias": given["old.fc.bias"]})
    assert not found
    assert torch.equal(weights["new.head.weight"], given["old.head.weight"])


def test_a_model_that_saves_a_part_misses_only_that_part():
    model, other = TrainedPart(), TrainedPart()
    weights, found = take_weights(model, other.state_dict(), logger="silent")
    assert not found
    assert torch.equal(model.head.weight, other.head.weight)
    assert "frozen.weight" in weights


def test_any_object_of_get_extra_state_has_no_shape():
    found = differences({"a._extra_state": {"x": 1}}, {"a._extra_state": torch.zeros(2)})
    assert not found
    assert str(found) == ""


def test_weights_that_fit_are_not_gathered():
    model = net()
    model.register_state_dict_pre_hook(lambda *_: pytest.fail("gathered"))
    with told_by_name(model, {}, True):
        assert model.training
