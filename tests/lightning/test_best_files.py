from __future__ import annotations

import os

import pytest
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mm2pl.lightning.best_files import keep_own_files

STATE = {
    "monitor": "acc",
    "best_model_score": 1.0,
    "current_score": 1.0,
    "kth_value": 1.0,
    "kth_best_model_path": "{a}/e1.ckpt",
    "best_model_path": "{a}/e1.ckpt",
    "last_model_path": "{a}/last.ckpt",
    "best_k_models": {"{a}/e1.ckpt": 1.0},
    "dirpath": "{a}",
}


def loaded(state: dict, folder: object, source: str) -> ModelCheckpoint:
    callback = ModelCheckpoint(dirpath=str(folder), monitor="acc")
    states = {callback.state_key: state}
    keep_own_files(callback, states, source)
    callback.load_state_dict(states[callback.state_key])
    return callback


def filled(value: object, folder: object) -> object:
    if isinstance(value, dict):
        return {filled(key, folder): filled(each, folder) for key, each in value.items()}
    return value.format(a=folder) if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("written", "copied"), [("a", "b"), ("b", "b")], ids=["a-copied-folder", "the-same"]
)
def test_the_history_goes_on_with_the_files_of_the_own_folder(tmp_path, written, copied):
    folder = tmp_path / copied
    callback = loaded(filled(STATE, tmp_path / written), folder, str(folder / "last.ckpt"))
    assert callback.best_model_path == callback.kth_best_model_path == str(folder / "e1.ckpt")
    assert callback.best_k_models == {str(folder / "e1.ckpt"): 1.0}
    assert callback.last_model_path == str(folder / "last.ckpt")


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_another_runs_file_begins_a_history_of_its_own(tmp_path):
    callback = loaded(
        filled(STATE, tmp_path / "a"), tmp_path / "b", str(tmp_path / "a" / "e1.ckpt")
    )
    assert callback.best_model_path == callback.kth_best_model_path == ""
    assert (callback.best_k_models, callback.best_model_score) == ({}, None)


@pytest.mark.parametrize("path", ["{a}/../x/e1.ckpt", "/etc/passwd", "{a}", "..", 5, None])
def test_paths_of_a_file_lead_nowhere_else(tmp_path, path):
    folder = tmp_path / "a"
    hostile = filled(path, folder)
    state = {**filled(STATE, folder), "best_k_models": {hostile: 1.0}}
    state |= dict.fromkeys(("best_model_path", "kth_best_model_path", "last_model_path"), hostile)
    callback = loaded(state, folder, str(folder / "e1.ckpt"))
    found = [callback.best_model_path, callback.kth_best_model_path, *callback.best_k_models]
    assert all(not each or os.path.dirname(each) == str(folder) for each in found)
    assert all(not each or each.endswith(".ckpt") for each in found)


def test_other_callbacks_keep_their_state(tmp_path):
    callback = EarlyStopping("acc")
    states = {callback.state_key: callback.state_dict()}
    keep_own_files(callback, states, str(tmp_path / "x.ckpt"))
    assert states == {callback.state_key: callback.state_dict()}
