from __future__ import annotations

import random
from collections import OrderedDict
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from mm2pl.lightning.checkpoint import (
    add_mmengine_keys,
    convert_checkpoint,
    from_mmengine,
    is_resumable,
    kind,
    loops_state,
    require_resumable,
    rng_state,
    set_rng_state,
    to_mmengine,
    weights_of,
)
from mm2pl.runner.checkpoint_file import CheckpointError

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
    with pytest.raises(CheckpointError, match="This is no checkpoint"):
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


# What a Trainer makes of it


class Recorder(pl.LightningModule):
    """Record what is called, where the Trainer stands."""

    def __init__(self, automatic):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.automatic_optimization = automatic
        self.calls = []

    def note(self, name, *extra):
        loop = self.trainer.fit_loop
        self.calls.append(
            (name, self.current_epoch, self.global_step, loop.total_batch_idx, *extra)
        )

    def training_step(self, batch, batch_idx):
        self.note("step", batch_idx, self.trainer.fit_loop.epoch_loop._batches_that_stepped)
        loss = self.layer(batch[0]).mean()
        if not self.automatic_optimization:
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def on_train_epoch_start(self):
        self.note("epoch start")

    def on_train_epoch_end(self):
        self.note("epoch end")

    def on_validation_start(self):
        self.note("validation")

    def on_train_end(self):
        self.note("end")


LENGTH = 4


def run(automatic, ckpt_path=None, batches=LENGTH, **options):
    module = Recorder(automatic)
    loader = DataLoader(TensorDataset(torch.ones(2 * batches, 2)), batch_size=2)
    trainer = pl.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        accelerator="cpu",
        **options,
    )
    trainer.fit(module, loader, loader, ckpt_path=ckpt_path)
    return module.calls, trainer


@pytest.fixture(params=[True, False], ids=["automatic", "manual"])
def automatic(request):
    return request.param


def file_at(tmp_path, automatic, iter, length):
    """Return MMEngine's file of the recorder after ``iter`` batches, for Lightning."""
    module = Recorder(automatic)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    epoch = iter // length
    file = {
        "meta": {"epoch": epoch, "iter": iter, "mmengine_version": "0.10.7"},
        "state_dict": module.state_dict(),
        "message_hub": HUB,
        "optimizer": optimizer.state_dict(),
    }
    torch.save(from_mmengine(file, epoch_length=length, by_epoch=True), tmp_path / "x.ckpt")
    return str(tmp_path / "x.ckpt")


@pytest.mark.filterwarnings("ignore:.*ended before the epoch ended.*")
@pytest.mark.parametrize("iter", [2, 4, 6, 8, 11])
def test_a_trainer_continues_at_the_right_place(tmp_path, automatic, iter):
    """All calls after the resume are those of the run that was not interrupted.

    Except for the validation and the end of an epoch that was over: MMEngine does not repeat them.
    """
    whole, _ = run(automatic, max_epochs=3)
    rest, _ = run(automatic, file_at(tmp_path, automatic, iter, LENGTH), max_epochs=3)
    last = next(i for i, call in enumerate(whole) if call[0] == "step" and call[3] == iter - 1)
    expected = whole[last + 1 :]
    if iter % LENGTH == 0:
        assert [call[0] for call in expected[:2]] == ["validation", "epoch end"]
        expected = expected[2:]
    assert rest == expected


def test_a_finished_run_stays_finished(tmp_path, automatic):
    calls, trainer = run(automatic, file_at(tmp_path, automatic, 12, LENGTH), max_epochs=3)
    assert calls == []
    assert (trainer.current_epoch, trainer.global_step) == (3, 12)


def test_the_last_batch_of_a_run_by_iterations(tmp_path, automatic):
    """Such a run is one epoch of Lightning's; at its last batch Lightning must not begin it again."""
    module = Recorder(automatic)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    checkpoint = {
        "state_dict": module.state_dict(),
        "optimizer_states": [optimizer.state_dict()],
        "lr_schedulers": [],
        "callbacks": {},
        "loops": loops_state(epoch=0, iter=10, batch_idx=10, epoch_length=10),
        "pytorch-lightning_version": pl.__version__,
    }
    torch.save(checkpoint, tmp_path / "x.ckpt")
    calls, trainer = run(automatic, str(tmp_path / "x.ckpt"), batches=10, max_epochs=1)
    assert [call[0] for call in calls] == ["end"]
    assert trainer.global_step == 10


def test_lightnings_own_place_is_read(tmp_path, automatic):
    """``to_mmengine`` finds epoch and iteration of what a plain Trainer saved, inside an epoch and at its end."""

    class Save(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.save_checkpoint(tmp_path / f"{trainer.fit_loop.total_batch_idx + 1}.ckpt")

        def on_train_epoch_end(self, trainer, _):
            trainer.save_checkpoint(tmp_path / f"end{trainer.current_epoch}.ckpt")

    run(automatic, max_epochs=2, callbacks=[Save()])
    places = {}
    for name in ("3", "4", "6", "8", "end0", "end1"):
        meta = to_mmengine(torch.load(tmp_path / f"{name}.ckpt", weights_only=True))["meta"]
        places[name] = (meta["epoch"], meta["iter"])
    assert places == {
        "3": (0, 3),
        "4": (1, 4),
        "6": (1, 6),
        "8": (2, 8),
        "end0": (1, 4),
        "end1": (2, 8),
    }


# Random numbers


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
    with pytest.raises(CheckpointError, match=r"in\.pth: This is no checkpoint"):
        convert_checkpoint(str(tmp_path / "in.pth"), str(tmp_path / "out.pth"))
    assert not (tmp_path / "out.pth").exists()


def test_module_versions_survive_conversion(tmp_path):
    weights = torch.nn.BatchNorm1d(2).state_dict()
    torch.save({"meta": {"epoch": 0, "iter": 0}, "state_dict": weights}, tmp_path / "in.pth")
    convert_checkpoint(str(tmp_path / "in.pth"), str(tmp_path / "out.pth"), to="mmengine")
    got = torch.load(tmp_path / "out.pth", weights_only=True)["state_dict"]
    assert got._metadata == weights._metadata
    assert isinstance(got, OrderedDict)
