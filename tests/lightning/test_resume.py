"""A run that is resumed from any of its files gives what the uninterrupted one gave, to the last bit."""

from __future__ import annotations

import copy
import os
from typing import Any

import pytest
import torch

from mm2pl.checkpoint.reader import CheckpointError
from tests.scenarios import Scenario, build, record

pytestmark = pytest.mark.filterwarnings("ignore")

SGD = {"type": "SGD", "lr": 0.05, "momentum": 0.9}
ITERS = {"by_epoch": False, "max_iters": 23, "val_interval": 7}
ENDLESS = {"type": "InfiniteSampler", "shuffle": True}


def saving(by_epoch: bool, interval: int) -> dict[str, Any]:
    hook = {
        "type": "CheckpointHook",
        "by_epoch": by_epoch,
        "interval": interval,
        "save_best": "accuracy",
    }
    return {"checkpoint": {**hook, "rule": "greater"}}


# Dropout and random augmentation everywhere, in worker processes too.
RUNS: dict[str, tuple[Scenario, list[str]]] = {
    "epochs": (
        Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1)),
        ["epoch_1.pth", "epoch_2.pth", "epoch_3.pth"],
    ),
    "inside epochs": (
        Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(False, 4)),
        ["iter_4.pth", "iter_8.pth", "iter_12.pth", "iter_24.pth"],
    ),
    "at the ends of epochs, counted in iterations": (
        Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(False, 9)),
        ["iter_9.pth", "iter_18.pth", "iter_27.pth"],
    ),
    "inside epochs, two workers": (
        Scenario(optim_wrapper={"optimizer": SGD}, workers=2, default_hooks=saving(False, 6)),
        ["iter_6.pth", "iter_12.pth", "iter_24.pth"],
    ),
    "iterations, open accumulation windows": (
        Scenario(
            optim_wrapper={"optimizer": {"type": "AdamW", "lr": 0.01}, "accumulative_counts": 4},
            train_cfg=ITERS,
            sampler=ENDLESS,
            param_scheduler={"type": "PolyLR", "by_epoch": False, "power": 0.9},
            default_hooks=saving(False, 5),
        ),
        ["iter_5.pth", "iter_10.pth", "iter_15.pth", "iter_20.pth"],
    ),
    "epochs over an endless sampler": (
        Scenario(optim_wrapper={"optimizer": SGD}, sampler=ENDLESS, default_hooks=saving(False, 9)),
        ["iter_9.pth", "iter_18.pth"],
    ),
    "iterations over a finite sampler": (
        Scenario(optim_wrapper={"optimizer": SGD}, train_cfg=ITERS, default_hooks=saving(False, 6)),
        ["iter_6.pth", "iter_12.pth", "iter_18.pth"],
    ),
    "iterations, two workers": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            train_cfg=ITERS,
            sampler=ENDLESS,
            workers=2,
            default_hooks=saving(False, 7),
        ),
        ["iter_7.pth", "iter_14.pth"],
    ),
    "average of the weights": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            custom_hooks=[{"type": "EMAHook", "momentum": 0.05, "begin_iter": 4}],
            default_hooks=saving(False, 6),
        ),
        ["iter_6.pth", "iter_18.pth"],
    ),
    "a schedule that reads the metric": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            train_cfg={"by_epoch": True, "max_epochs": 6},
            param_scheduler={
                "type": "ReduceOnPlateauLR",
                "monitor": "accuracy",
                "rule": "greater",
                "patience": 1,
            },
            default_hooks=saving(True, 1),
        ),
        ["epoch_2.pth", "epoch_4.pth", "epoch_5.pth"],
    ),
    "one cycle": (
        Scenario(
            optim_wrapper={"optimizer": SGD},
            param_scheduler={
                "type": "OneCycleLR",
                "by_epoch": False,
                "eta_max": 0.1,
                "total_steps": 27,
            },
            default_hooks=saving(True, 1),
        ),
        ["epoch_1.pth"],
    ),
    "two optimizers": (
        Scenario(
            optim_wrapper={
                "generator": {"optimizer": {"type": "Adam", "lr": 1e-3}},
                "discriminator": {"optimizer": SGD, "accumulative_counts": 2},
            },
            model="pair",
            default_hooks=saving(True, 1),
        ),
        ["epoch_1.pth", "epoch_2.pth"],
    ),
}


@pytest.fixture(scope="module", params=RUNS)
def whole(request, tmp_path_factory):
    """An uninterrupted run: its scenario, what it gave, and its folder."""
    scenario, files = RUNS[request.param]
    folder = tmp_path_factory.mktemp("whole")
    return scenario, files, record("mm2pl", copy.deepcopy(scenario), str(folder)), folder


def test_resuming_is_exact(whole, tmp_path):
    scenario, files, expected, folder = whole
    assert {f for f in os.listdir(folder) if f.startswith(("epoch", "iter"))} >= set(files)
    for name in files:
        work_dir = tmp_path / name
        got = resumed(scenario, folder / name, work_dir)
        done = torch.load(folder / name, weights_only=True)["meta"]["iter"]
        assert len(got["loss"]) == len(expected["loss"]) - done, name
        assert_tail(got, expected, name)
        # Another folder has a history of best files of its own, which begins with its first validation.
        best = [f for f in os.listdir(work_dir) if f.startswith("best")]
        assert len(best) == bool(got["validated_at"]), name


def resumed(scenario: Scenario, file: Any, work_dir: Any) -> dict[str, Any]:
    again = copy.deepcopy(scenario)
    again.options = {"load_from": str(file), "resume": True}
    return record("mm2pl", again, str(work_dir))


def assert_tail(got: dict[str, Any], expected: dict[str, Any], name: str) -> None:
    for key in ("loss", "lr", "momentum", "place", "metrics", "validated_at"):
        count = len(got[key])
        assert got[key] == expected[key][len(expected[key]) - count :], f"{name}: {key}"
    assert all(torch.equal(v, expected["weights"][k]) for k, v in got["weights"].items()), name


def test_the_due_validation_is_made_up_for(tmp_path):
    """``epoch_N.pth`` is written before the validation of epoch N; a run killed in between must still decide on it."""
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1))
    expected = record("mm2pl", copy.deepcopy(scenario), str(tmp_path / "whole"))
    for epoch in (2, 3):
        file = tmp_path / "whole" / f"epoch_{epoch}.pth"
        checkpoint = torch.load(file, weights_only=True)
        if checkpoint["mm2pl"]["validation_pending"]:
            got = resumed(scenario, file, tmp_path / f"from_{epoch}")
            assert got["validated_at"] == expected["validated_at"][epoch - 1 :]
            assert got["metrics"] == expected["metrics"][epoch - 1 :]


def test_automatic_resume_finds_the_last_file(tmp_path):
    scenario = Scenario(optim_wrapper={"optimizer": SGD}, default_hooks=saving(True, 1))
    expected = record("mm2pl", copy.deepcopy(scenario), str(tmp_path / "whole"))
    os.rename(tmp_path / "whole", tmp_path / "moved")
    (tmp_path / "moved" / "epoch_3.pth").unlink()
    (tmp_path / "moved" / "last_checkpoint").write_text(str(tmp_path / "whole" / "epoch_2.pth"))
    scenario.options = {"resume": True}
    got = record("mm2pl", scenario, str(tmp_path / "moved"))
    assert len(got["loss"]) == 9
    assert_tail(got, expected, "moved")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(bytes(content))


def weights_only(path):
    checkpoint = torch.load(path, weights_only=True)
    torch.save({k: checkpoint[k] for k in ("meta", "state_dict", "message_hub")}, path)


def of_another_model(path):
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["state_dict"] = torch.nn.LSTM(2, 2).state_dict()
    torch.save(checkpoint, path)


def forbidden(path):
    from fractions import Fraction

    torch.save({**torch.load(path, weights_only=True), "f": Fraction(1)}, path)


BROKEN = {
    "truncated": (truncate, r"epoch_2\.pth is damaged: the table of contents.*epoch_1\.pth"),
    "bit flipped": (flip_a_bit, r"epoch_2\.pth is damaged: the checksum of .*epoch_1\.pth"),
    "empty": (lambda path: path.write_bytes(b""), r"epoch_2\.pth is empty.*epoch_1\.pth"),
    "text": (
        lambda path: path.write_text("hello"),
        r"epoch_2\.pth is damaged or no checkpoint.*epoch_1\.pth",
    ),
    "forbidden": (
        forbidden,
        r"epoch_2\.pth pickles fractions\.Fraction.*weights_only=False.*epoch_1\.pth",
    ),
    "weights only": (weights_only, r"epoch_2\.pth holds weights only.*load_from"),
    "another model": (of_another_model, r"weight_hh_l0"),
}


@pytest.fixture(scope="module")
def two_epochs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_epochs")
    scenario = Scenario(
        optim_wrapper={"optimizer": SGD},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        default_hooks={"checkpoint": {"type": "CheckpointHook", "interval": 1}},
    )
    record("mm2pl", scenario, str(folder))
    return scenario, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_file_is_refused_and_nothing_overwritten(two_epochs, tmp_path, how):
    scenario, files = two_epochs
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "last_checkpoint").write_text(str(tmp_path / "epoch_2.pth"))
    damage, message = BROKEN[how]
    damage(tmp_path / "epoch_2.pth")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    again = copy.deepcopy(scenario)
    again.train_cfg["max_epochs"] = 3
    again.options = {"resume": True, "load_from": str(tmp_path / "epoch_2.pth")}
    with pytest.raises((CheckpointError, RuntimeError), match=message):
        build(
            "mm2pl", again, str(tmp_path), {k: [] for k in ("loss", "lr", "momentum", "place")}
        ).train()
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert not (tmp_path / "epoch_3.pth").exists()


def accumulated_by_lightning(work_dir: Any, **options: Any) -> dict[str, torch.Tensor]:
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    scenario = Scenario(
        optim_wrapper={"optimizer": SGD},
        train_cfg={**ITERS, "max_iters": 16},
        sampler=ENDLESS,
        default_hooks=saving(False, 3),
        options=options,
    )
    runner = build("mm2pl", scenario, str(work_dir), book)
    runner.trainer.accumulate_grad_batches = 4
    runner.train()
    assert runner.trainer.global_step == 4
    return runner.model.state_dict()


def test_resuming_inside_a_window_of_lightnings(tmp_path):
    whole = accumulated_by_lightning(tmp_path)
    for done in (3, 6, 12):  # three batches, two batches and none are waiting for their step
        options = {"load_from": str(tmp_path / f"iter_{done}.pth"), "resume": True}
        again = accumulated_by_lightning(tmp_path / str(done), **options)
        assert all(torch.equal(value, whole[name]) for name, value in again.items()), done
    holds = {
        done: "accumulation" in torch.load(tmp_path / f"iter_{done}.pth")["optimizer"]
        for done in (3, 6, 9, 12)
    }
    assert holds == {3: True, 6: True, 9: True, 12: False}
