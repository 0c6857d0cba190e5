from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mm2pl.config import Config
from mm2pl.visualization import BaseVisBackend, LocalVisBackend

IMAGE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 14


def read_png(path) -> np.ndarray:
    import matplotlib.image

    return np.rint(matplotlib.image.imread(path) * 255).astype(np.uint8)


def test_nothing_is_written_before_there_is_something(tmp_path):
    LocalVisBackend(str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
    assert LocalVisBackend(str(tmp_path / "new")).experiment is not None
    assert (tmp_path / "new").exists()


def test_scalars_are_json_lines(tmp_path):
    backend = LocalVisBackend(str(tmp_path))
    backend.add_scalar("a", torch.tensor(1.5), step=1)
    backend.add_scalar("b", np.float64(0.1))
    backend.add_scalars({"loss": 0.1, "lr": np.float32(0.5), "iter": 3}, step=3, file_path="x.json")
    backend.add_scalars({"step": 9, "acc": 1})
    assert (tmp_path / "scalars.json").read_text() == (
        '{"a": 1.5, "step": 1}\n{"b": 0.1, "step": 0}\n'
        '{"loss": 0.1, "lr": 0.5, "iter": 3, "step": 3}\n{"step": 9, "acc": 1}\n'
    )
    assert json.loads((tmp_path / "x.json").read_text()) == {
        "loss": 0.1,
        "lr": 0.5,
        "iter": 3,
        "step": 3,
    }


def test_config(tmp_path):
    LocalVisBackend(str(tmp_path)).add_config(Config({"a": 1, "b": {"c": [0, 1]}}))
    assert Config.fromfile(tmp_path / "config.py").to_dict() == {"a": 1, "b": {"c": [0, 1]}}


@pytest.mark.parametrize("image", [IMAGE, IMAGE[..., 0]], ids=["rgb", "grey"])
def test_images_are_lossless(tmp_path, image):
    LocalVisBackend(str(tmp_path)).add_image("folderless", image, step=4)
    assert os.listdir(tmp_path / "vis_image") == ["folderless_4.png"]
    assert np.array_equal(read_png(tmp_path / "vis_image" / "folderless_4.png"), image)


def test_own_names(tmp_path):
    backend = LocalVisBackend(str(tmp_path), "pics", "c.py", "s.json")
    backend.add_scalar("a", 1)
    backend.add_image("i", IMAGE)
    backend.add_config(Config({"a": 1}))
    assert sorted(os.listdir(tmp_path)) == ["c.py", "pics", "s.json"]


def test_mmengines_config_is_taken_too(tmp_path, monkeypatch):
    class Theirs:
        dump = Config({"a": 1}).dump

    module = ModuleType("mmengine.config")
    module.Config = Theirs
    monkeypatch.setitem(sys.modules, "mmengine.config", module)
    LocalVisBackend(str(tmp_path)).add_config(Theirs())
    assert (tmp_path / "config.py").read_text() == "a = 1\n"


@pytest.mark.parametrize(
    ("use", "text"),
    [
        (lambda b: b.add_config({"a": 1}), "config should be a Config"),
        (lambda b: b.add_image("i", IMAGE.astype(float)), "'i' should be of uint8"),
        (lambda b: b.add_scalars([1]), "should be a dict"),
        (lambda b: b.add_scalars({}, file_path="a.txt"), "file_path should end in '.json'"),
        (lambda b: b.add_scalars({}, file_path="scalars.json"), "have the same name"),
        (lambda b: LocalVisBackend("", config_save_file="a.json"), "should end in '.py'"),
        (lambda b: LocalVisBackend("", scalar_save_file="a.py"), "should end in '.json'"),
    ],
)
def test_misuse(tmp_path, use, text):
    with pytest.raises(AssertionError, match=text):
        use(LocalVisBackend(str(tmp_path)))


def test_the_base_takes_everything(tmp_path):
    backend = BaseVisBackend(str(tmp_path))
    backend.add_config(None)
    backend.add_graph(None, None)
    backend.add_image("a", IMAGE)
    backend.add_scalar("a", 1)
    backend.add_scalars({})
    backend.close()
    assert list(Path(tmp_path).iterdir()) == []
