"""The folder of a sharded run, read in one process: what it gives, and what it must not do."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributed import checkpoint as dcp

from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.sharded import read_sharded

WEIGHTS = {"model.fc.weight": torch.ones(2), "model.fc.bias": torch.zeros(1), "head": torch.ones(1)}
NAMES = list(WEIGHTS)


def adam(lr: float) -> dict:
    return {
        "state": {name: {"step": torch.tensor(3.0)} for name in NAMES},
        "param_groups": [{"lr": lr, "params": NAMES[:2]}, {"lr": 2 * lr, "params": NAMES[2:]}],
    }


def saved(folder: Path, rest: dict, **optimizers: dict) -> Path:
    """Write a folder as Lightning's ModelParallelStrategy does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        dcp.save({"state_dict": WEIGHTS, **optimizers}, checkpoint_id=folder, no_dist=True)
    torch.save(rest, folder / "meta.pt")
    return folder


OURS = {"meta": {"mm2pl_version": "1", "iter": 3}, "optimizer": {"loss_scaler": {"scale": 2.0}}}


def test_a_folder_reads_like_a_file(tmp_path: Path) -> None:
    made = read_sharded(saved(tmp_path, OURS, optimizer_0=adam(0.1)))
    assert list(made["state_dict"]) == ["fc.weight", "fc.bias", "lightning_module.head"]
    assert torch.equal(made["state_dict"]["fc.weight"], torch.ones(2))
    (state,) = made["optimizer_states"]
    assert [group["params"] for group in state["param_groups"]] == [[0, 1], [2]]
    assert [group["lr"] for group in state["param_groups"]] == [0.1, 0.2]
    assert list(state["state"]) == [0, 1, 2]
    assert made["optimizer"] == {**state, "loss_scaler": {"scale": 2.0}}
    assert made["meta"] == OURS["meta"]


def test_several_optimizers_keep_their_names(tmp_path: Path) -> None:
    rest = {**OURS, "optimizer": {"gen": {}, "disc": {"accumulation": {"inner_count": 2}}}}
    made = read_sharded(saved(tmp_path, rest, optimizer_0=adam(0.1), optimizer_1=adam(0.3)))
    rates = {name: part["param_groups"][0]["lr"] for name, part in made["optimizer"].items()}
    assert rates == {"gen": 0.1, "disc": 0.3}
    assert made["optimizer"]["disc"]["accumulation"] == {"inner_count": 2}


def test_a_module_by_hand_keeps_its_names(tmp_path: Path) -> None:
    made = read_sharded(saved(tmp_path, {"epoch": 1}))
    assert list(made["state_dict"]) == NAMES
    assert "optimizer_states" not in made


class Malicious:
    def __reduce__(self) -> tuple:
        return os.system, ("touch ran",)


def index_that_runs_code(folder: Path) -> None:
    (folder / ".metadata").write_bytes(pickle.dumps(Malicious()))


def rest_that_runs_code(folder: Path) -> None:
    torch.save({"more": Malicious()}, folder / "meta.pt")


def entry_that_runs_code(folder: Path) -> None:
    saved(folder, OURS, optimizer_0={**adam(0.1), "more": Malicious()})


def no_shard(folder: Path) -> None:
    next(folder.glob("*.distcp")).unlink()


def no_rest(folder: Path) -> None:
    (folder / "meta.pt").unlink()


DAMAGE: dict[Callable[[Path], None], str] = {
    index_that_runs_code: r"its \.metadata names posix\.system, which may run code",
    rest_that_runs_code: r"pickles posix\.system",
    entry_that_runs_code: r"posix\.system",
    no_shard: r"No such file",
    no_rest: r"meta\.pt can not be found",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda function: function.__name__)
def test_damaged_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = saved(tmp_path / "run", OURS, optimizer_0=adam(0.1))
    damage(folder)
    with pytest.raises(CheckpointError, match=DAMAGE[damage]):
        read_sharded(folder)
    assert not (tmp_path / "ran").exists()
