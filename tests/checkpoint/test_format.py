from __future__ import annotations

from collections import OrderedDict
from typing import Any

import lightning.pytorch as pl
import pytest
import torch

from mm2pl.checkpoint.format import (
    add_mmengine_keys,
    convert_checkpoint,
    from_mmengine,
    is_resumable,
    kind,
    require_resumable,
    to_mmengine,
    weights_of,
)
from mm2pl.checkpoint.progress import loops_state
from mm2pl.checkpoint.reader import CheckpointError

W = torch.ones(2)
HUB: dict[str, Any] = {"log_scalars": {}, "runtime_info": {}, "resumed_keys": {}}
ADAM = {"state": {0: {"step": torch.tensor(4.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}

FILES: dict[str, dict[str, Any]] = {
    "mm2pl": {
        "meta": {"epoch": 2, "iter": 8, "mm2pl_version": "0.1"},
        "state_dict": {"w": W},
        "message_hub": HUB,
        "optimizer": ADAM,
        "param_schedulers": [{"last_step": 8}],
        "pytorch-lightning_version": "2.6.6",
        "epoch": 1,
        "global_step": 8,
        "optimizer_states": [ADAM],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": {},
        "mm2pl": {"batch_idx": 0},
    },
    "mm2pl best": {
        "meta": {"epoch": 2, "iter": 8, "mm2pl_version": "0.1"},
        "state_dict": {"w": W},
        "message_hub": HUB,
    },
    "mmengine": {
        "meta": {"epoch": 2, "iter": 8, "mmengine_version": "0.10.7"},
        "state_dict": {"w": W},
        "message_hub": HUB,
        "optimizer": ADAM,
        "param_schedulers": [{"last_step": 8}],
    },
    "mmcv": {
        "meta": {"epoch": 2, "iter": 8, "mmcv_version": "1.7.2", "CLASSES": ("a",)},
        "state_dict": {"w": W},
        "optimizer": ADAM,
    },
    "lightning": {
        "epoch": 2,
        "global_step": 8,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": {"model.w": W},
        "optimizer_states": [ADAM],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": loops_state(epoch=2, iter=8),
    },
    "state_dict": {"w": W},
    "state_dict in a dict": {"state_dict": {"w": W}},
}


@pytest.mark.parametrize("name", FILES)
def test_kind(name):
    assert kind(FILES[name]) == name.split(" ")[0]


@pytest.mark.parametrize("junk", [3, [W], {}, {"a": 1}, {"state_dict": {}}, {"meta": {}}], ids=repr)
def test_no_checkpoint(junk):
    with pytest.raises(CheckpointError, match="This is not a checkpoint"):
        kind(junk)


# To MMEngine


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("mm2pl", ["meta", "state_dict", "message_hub", "optimizer", "param_schedulers", "mm2pl"]),
        ("mm2pl best", ["meta", "state_dict", "message_hub"]),
        ("mmengine", ["meta", "state_dict", "message_hub", "optimizer", "param_schedulers"]),
        ("mmcv", ["meta", "state_dict", "optimizer", "message_hub"]),
        ("lightning", ["state_dict", "meta", "optimizer", "message_hub"]),
        ("state_dict", ["meta", "state_dict", "message_hub"]),
        ("state_dict in a dict", ["meta", "state_dict", "message_hub"]),
    ],
)
def test_to_mmengine(name, keys):
    got = to_mmengine(FILES[name])
    assert list(got) == keys
    assert list(got["state_dict"]) == ["w"]
    assert got["message_hub"].keys() == HUB.keys()
    assert (got["meta"]["epoch"], got["meta"]["iter"]) == (
        (0, 0) if "state_dict" in name else (2, 8)
    )


def test_several_lightning_optimizers_get_names():
    two = {**FILES["lightning"], "optimizer_states": [ADAM, ADAM]}
    assert list(to_mmengine(two)["optimizer"]) == ["optimizer_0", "optimizer_1"]


@pytest.mark.parametrize("name", FILES)
def test_weights_of(name):
    assert list(weights_of(FILES[name])) == ["meta", "state_dict"]


class FakeRun:
    """The four attributes of a runner that a checkpoint reads."""

    class _State:
        def __init__(self, **state):
            self._state = state

        def state_dict(self):
            return self._state

    def __init__(self, schedulers):
        self.message_hub = self._State(**HUB)
        self.optim_wrapper = self._State(lr=1)
        self.param_schedulers = schedulers

    def meta(self):
        return {"epoch": 1, "iter": 4}


@pytest.mark.parametrize(
    ("schedulers", "expected"),
    [
        (None, None),
        ([FakeRun._State(a=1)], [{"a": 1}]),
        ({"d": [FakeRun._State(a=1)], "g": []}, {"d": [{"a": 1}], "g": []}),
    ],
    ids=["none", "list", "dict"],
)
def test_mmengine_keys_are_added(schedulers, expected):
    checkpoint: dict[str, Any] = {"state_dict": {"w": W}, "optimizer_states": []}
    add_mmengine_keys(checkpoint, FakeRun(schedulers))
    assert checkpoint["meta"].keys() == {"epoch", "iter", "mm2pl_version", "mmengine_version"}
    assert checkpoint["optimizer"] == {"lr": 1}
    assert checkpoint.get("param_schedulers") == expected


def test_weights_only_files_get_no_optimizer():
    checkpoint: dict[str, Any] = {"state_dict": {"w": W}}
    add_mmengine_keys(checkpoint, FakeRun([]))
    assert list(checkpoint) == ["state_dict", "meta", "message_hub"]


# To Lightning


@pytest.mark.parametrize("name", ["mm2pl", "mmengine", "mmcv"])
def test_from_mmengine_has_what_fit_needs(name):
    got = from_mmengine(FILES[name], epoch_length=4)
    assert got.keys() >= {
        "state_dict",
        "loops",
        "optimizer_states",
        "lr_schedulers",
        "callbacks",
        "meta",
    }
    assert got["pytorch-lightning_version"] == pl.__version__
    assert (got["epoch"], got["global_step"]) == (2, 8)
    assert got["optimizer_states"][0] == ADAM
    assert FILES["mmengine"].keys() == {
        "meta",
        "state_dict",
        "message_hub",
        "optimizer",
        "param_schedulers",
    }


def test_lightning_files_stay_as_they_are():
    assert from_mmengine(FILES["lightning"]) == FILES["lightning"]


@pytest.mark.parametrize("name", ["mm2pl best", "state_dict", "state_dict in a dict"])
def test_weights_cannot_be_resumed(name):
    assert not is_resumable(FILES[name])
    with pytest.raises(CheckpointError, match=r"holds weights only.*load_from"):
        from_mmengine(FILES[name])
    got = from_mmengine(FILES[name], resume=False)
    assert got["state_dict"] == {"w": W}
    assert "pytorch-lightning_version" in got


def test_the_message_names_the_file():
    with pytest.raises(CheckpointError, match=r"^best\.pth holds weights only"):
        require_resumable({"state_dict": {}}, "best.pth")


@pytest.mark.parametrize(
    ("optimizer", "states", "scaler"),
    [
        (ADAM, [ADAM], None),
        (
            {**ADAM, "loss_scaler": {"scale": 2.0}, "base_param_settings": {"lr": 1}},
            [ADAM],
            {"scale": 2.0},
        ),
        ({"g": ADAM, "d": {**ADAM, "loss_scaler": {"scale": 4.0}}}, [ADAM, ADAM], {"scale": 4.0}),
    ],
    ids=["one", "amp", "two"],
)
def test_optimizers(optimizer, states, scaler):
    got = from_mmengine({**FILES["mmengine"], "optimizer": optimizer})
    assert got["optimizer_states"] == states
    assert got.get("MixedPrecision") == scaler
    assert got["optimizer"] == optimizer


@pytest.mark.parametrize(
    ("schedulers", "expected"),
    [
        (None, []),
        ([], []),
        ([{"last_step": 1}], [{"schedulers": [{"last_step": 1}]}]),
        ({"d": [{"last_step": 1}], "g": []}, [{"schedulers": [{"last_step": 1}]}]),
    ],
    ids=["none", "empty", "list", "dict"],
)
def test_schedules(schedulers, expected):
    file = {
        **FILES["mmengine"],
        "param_schedulers": schedulers,
        "optimizer": {"g": ADAM, "d": ADAM},
    }
    assert from_mmengine(file)["lr_schedulers"] == expected


@pytest.mark.parametrize(
    ("meta", "options", "epochs", "batch"),
    [
        ((2, 8), {"epoch_length": 4}, 2, 0),
        ((2, 8), {}, 2, 0),
        ((1, 6), {"epoch_length": 4}, 1, 2),
        ((1, 6), {}, 1, 0),
        ((1, 6), {"epoch_length": 100}, 1, 0),
        ((0, 6), {}, 0, 6),
        ((0, 6), {"by_epoch": True, "epoch_length": 8}, 0, 6),
        ((3, 6), {"by_epoch": False}, 0, 6),
    ],
    ids=[
        "ended",
        "ended, any length",
        "inside",
        "inside, any length",
        "other length",
        "iter",
        "first",
        "forced",
    ],
)
def test_the_place_in_the_run(meta, options, epochs, batch):
    file = {
        **FILES["mmengine"],
        "meta": {"epoch": meta[0], "iter": meta[1], "mmengine_version": "0"},
    }
    loops = from_mmengine(file, **options)["loops"]["fit_loop"]
    assert loops["epoch_progress"]["current"]["completed"] == epochs
    assert loops["epoch_loop.batch_progress"]["current"]["processed"] == batch
    assert loops["epoch_loop.batch_progress"]["total"]["processed"] == meta[1]


# Files


@pytest.mark.parametrize(
    ("to", "keys"),
    [
        (
            "lightning",
            {"optimizer_states", "loops", "pytorch-lightning_version", "meta", "message_hub"},
        ),
        ("mmengine", {"optimizer", "meta", "message_hub"}),
        ("weights", {"meta", "state_dict"}),
    ],
)
@pytest.mark.parametrize("name", ["mm2pl", "mmengine", "mmcv"])
def test_convert(tmp_path, name, to, keys):
    torch.save(FILES[name], tmp_path / "in.pth")
    convert_checkpoint(str(tmp_path / "in.pth"), str(tmp_path / "out.pth"), to=to)
    got = torch.load(tmp_path / "out.pth", weights_only=True)
    assert got.keys() >= keys
    assert kind(got) != "lightning"
    assert ("loops" in got) == (to == "lightning")


def test_convert_refuses_unknown_targets(tmp_path):
    with pytest.raises(ValueError, match="to='onnx' → one of lightning, mmengine, weights"):
        convert_checkpoint("in.pth", "out.pth", to="onnx")


def test_convert_names_the_file(tmp_path):
    torch.save({"a": 1}, tmp_path / "in.pth")
    with pytest.raises(CheckpointError, match=r"in\.pth: This is not a checkpoint"):
        convert_checkpoint(str(tmp_path / "in.pth"), str(tmp_path / "out.pth"))
    assert not (tmp_path / "out.pth").exists()


def test_module_versions_survive_conversion(tmp_path):
    weights = torch.nn.BatchNorm1d(2).state_dict()
    torch.save({"meta": {"epoch": 0, "iter": 0}, "state_dict": weights}, tmp_path / "in.pth")
    convert_checkpoint(str(tmp_path / "in.pth"), str(tmp_path / "out.pth"), to="mmengine")
    got = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert got._metadata == weights._metadata
    assert isinstance(got, OrderedDict)
