from __future__ import annotations

import warnings
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from mm2pl.checkpoint.plain import OWN_KEY, from_plain, to_plain
from mm2pl.logging import HistoryBuffer, MessageHub


def test_what_is_written_loads_with_weights_only(tmp_path):
    checkpoint = {
        "array": np.arange(3),
        "text": np.array(["a", "bc"]),
        "scalar": np.float32(1),
        "path": Path("x"),
        "set": {1, 2},
        "nested": OrderedDict(a=(1, [np.int8(2)])),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(to_plain(checkpoint), tmp_path / "x.pth")
    got = torch.load(tmp_path / "x.pth", weights_only=True)
    assert torch.equal(got["array"], torch.arange(3))
    assert (got["text"], got["scalar"], got["path"], got["set"]) == (["a", "bc"], 1.0, "x", {1, 2})
    assert not got["parameter"].requires_grad


def test_arrays_come_back():
    arrays = {
        "int": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "big endian": np.arange(3, dtype=">f8"),
        "strided": np.arange(6)[::-2],
        "text": np.array(["a", "bc"]),
        "empty": np.zeros((0, 3)),
    }
    got = from_plain(to_plain({"meta": {"in tuple": (1, arrays["int"]), **arrays}}))
    assert OWN_KEY not in got
    for name, array in arrays.items():
        np.testing.assert_array_equal(got["meta"][name], array)
        assert got["meta"][name].dtype == array.dtype.newbyteorder("=")
    np.testing.assert_array_equal(got["meta"]["in tuple"][1], arrays["int"])


def test_removed_parts_are_no_problem():
    plain = to_plain({"meta": {"palette": np.ones(2)}, "state_dict": {"w": torch.ones(1)}})
    del plain["meta"]
    assert list(from_plain(plain)) == ["state_dict"]


def test_own_keys_of_a_run_stay():
    plain = to_plain({"a": np.ones(1), OWN_KEY: {"batch_idx": 3}})
    assert plain[OWN_KEY] == {"batch_idx": 3, "arrays": [("a",)]}
    assert from_plain(plain)[OWN_KEY] == {"batch_idx": 3}


@pytest.mark.parametrize(
    ("checkpoint", "left", "named"),
    [
        (
            {"meta": {"f": print, "a": 1}},
            {"meta": {"a": 1}},
            r"meta\['f'\] holds a builtins.builtin",
        ),
        (
            {"meta": {"l": [1, [object()]], "a": 1}},
            {"meta": {"a": 1}},
            r"meta\['l'\] holds a builtins.object",
        ),
        ({"x": int, "a": 1}, {"a": 1}, r"x holds a builtins\.type"),
    ],
    ids=["entry", "in a list", "at the top"],
)
def test_what_cannot_be_kept_is_left_out_and_named(checkpoint, left, named):
    with pytest.warns(UserWarning, match=named):
        assert to_plain(checkpoint) == left


def hub_with_scalars():
    hub = MessageHub("test_plain")
    for value in (0.5, 0.25):
        hub.update_scalar("train/loss", value)
    hub.update_scalar("train/time", 1.0, resumed=False)
    hub.update_info("iter", 7)
    return hub


@pytest.mark.parametrize("form", ["state_dict", "buffers"])
def test_scalar_histories_stand_apart_and_come_back(form):
    hub = hub_with_scalars()
    state = hub.state_dict()
    if form == "buffers":
        state["log_scalars"] = {"train/loss": hub.get_scalar("train/loss")}
    plain = to_plain({"message_hub": state})
    assert plain["message_hub"]["log_scalars"] == {}
    assert "train/loss" not in plain["message_hub"]["resumed_keys"]
    assert plain[OWN_KEY]["histories"]["train/loss"]["log"].tolist() == [0.5, 0.25]

    got = from_plain(plain)
    assert OWN_KEY not in got
    buffer = got["message_hub"]["log_scalars"]["train/loss"]
    assert type(buffer) is HistoryBuffer
    other = MessageHub("test_plain_other")
    other.load_state_dict(got["message_hub"])
    assert other.get_scalar("train/loss").data[0].tolist() == [0.5, 0.25]
    assert other.state_dict()["log_scalars"].keys() == {"train/loss"}
    assert other.get_info("iter") == 7


def test_nothing_is_said_about_ordinary_runs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = torch.nn.Linear(2, 2)
        optimizer = torch.optim.Adam(model.parameters())
        model(torch.ones(1, 2)).sum().backward()
        optimizer.step()
        got = to_plain({"state_dict": model.state_dict(), "optimizer": optimizer.state_dict()})
    assert got["state_dict"].keys() == {"weight", "bias"}
