"""What ``mm2pl browse`` finds in samples, and what it draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from mm2pl.cli.main import main
from mm2pl.dataset import BaseDataset, ConcatDataset, RepeatDataset
from mm2pl.registry import VISUALIZERS
from mm2pl.structures import BaseDataElement
from mm2pl.visualization import Visualizer
from mm2pl.visualization.browse import grid, label_of, loaded, picture_of, samples, write_each

RAMP = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


@pytest.mark.parametrize(
    ("item", "pixel"),
    [
        pytest.param(RAMP, [0, 1, 2], id="array of bytes"),
        pytest.param(torch.from_numpy(RAMP).permute(2, 0, 1), [0, 1, 2], id="tensor of bytes"),
        pytest.param(torch.from_numpy(RAMP).permute(2, 0, 1) / 11, [0, 23, 46], id="scaled"),
        pytest.param(torch.ones(1, 2, 2).bfloat16(), [0, 0, 0], id="one value"),
        pytest.param(torch.eye(2), [255, 255, 255], id="grey, two dimensions"),
        pytest.param((RAMP, 3), [0, 1, 2], id="picture and label"),
        pytest.param({"inputs": [RAMP], "labels": 1}, [0, 1, 2], id="list of inputs"),
        pytest.param({"views": 1, "left": torch.eye(2)}, [255, 255, 255], id="by another name"),
        pytest.param({"inputs": torch.zeros(5)}, None, id="a row of numbers"),
        pytest.param(torch.zeros(7, 4, 4), None, id="seven channels"),
        pytest.param(torch.zeros(3, 0, 4), None, id="empty"),
        pytest.param("text", None, id="text"),
    ],
)
def test_the_picture_in_a_sample(item, pixel):
    found = picture_of(item)
    assert (found if found is None else found[0, 0].tolist()) == pixel


def test_opencvs_order_is_turned_round():
    assert picture_of(RAMP, bgr=True)[0, 0].tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("item", "label"),
    [
        ({"labels": torch.tensor(1)}, "dog"),
        ({"data_samples": BaseDataElement(gt_label=torch.tensor([0, 1]))}, "cat, dog"),
        ((None, 5), "5"),
        ((None, torch.zeros(2)), ""),
        ({"labels": "x"}, ""),
        (RAMP, ""),
    ],
)
def test_the_class_of_a_sample(item, label):
    assert label_of(item, {"classes": ("cat", "dog")}) == label


def mark(results):
    return {**results, "seen": True}


def load(results):
    return {**results, "img": RAMP}


def flip_and_pack(results):
    picture = np.ascontiguousarray(results["img"][:, ::-1])
    return {"inputs": torch.from_numpy(picture).permute(2, 0, 1), "labels": results["label"]}


class Pictures(BaseDataset):
    METAINFO = {"classes": ("cat", "dog")}  # noqa: RUF012 - as projects write it

    def load_data_list(self):
        return [{"label": number % 2} for number in range(3)]


def pictures():
    return Pictures(pipeline=[mark, load, flip_and_pack])


@pytest.mark.parametrize(
    ("dataset", "index"),
    [
        pytest.param(pictures, 2, id="plain"),
        pytest.param(lambda: RepeatDataset(pictures(), 2), 5, id="repeated"),
        pytest.param(lambda: ConcatDataset([pictures(), pictures()]), 4, id="put together"),
    ],
)
def test_before_and_after_the_pipeline(dataset, index):
    dataset = dataset()
    assert np.array_equal(picture_of(loaded(dataset, index)), RAMP)
    assert np.array_equal(picture_of(dataset[index]), RAMP[:, ::-1])


def test_samples_come_in_the_samplers_order(tmp_path):
    found = samples(DataLoader(pictures(), batch_size=2, sampler=[2, 0, 1]), 2)
    assert [(each.index, each.label) for each in found] == [(2, "cat"), (0, "cat")]
    assert found[0].parts == {"inputs": "uint8 (3, 2, 2), 0 to 11", "labels": "int 0"}
    grid(found, tmp_path / "x.png", "title")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    files = write_each(found, tmp_path / "each")
    assert [file.name for file in files] == [
        "2_loaded.png", "2_input.png", "0_loaded.png", "0_input.png",
    ]  # fmt: skip


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(RAMP, 1)] * 3)


def test_a_stream_has_no_numbers():
    found = samples(DataLoader(Stream(), batch_size=None), 2)
    assert [(each.index, each.label, each.before) for each in found] == [(None, "1", None)] * 2


def test_the_configs_visualizer_draws_what_a_data_sample_says():
    @VISUALIZERS.register_module()
    class Corner(Visualizer):
        def add_datasample(self, name, image, data_sample=None, draw_gt=True, **kwargs):
            assert self.dataset_meta == {"classes": ("cat", "dog")}
            assert draw_gt
            assert not kwargs["draw_pred"]
            drawn = image.copy()
            drawn[0, 0] = data_sample.color
            self.add_image(name, drawn)

    def pack(results):
        return {"inputs": RAMP, "data_samples": BaseDataElement(color=[7, 8, 9])}

    for _ in range(2):  # by name, a visualizer is made once
        loader = DataLoader(Pictures(pipeline=[load, pack]), batch_size=1)
        (found,) = samples(
            loader, 1, {"type": "Corner", "vis_backends": [{"type": "None of mine"}]}
        )
        assert found.after[0, 0].tolist() == [7, 8, 9]
        assert found.before[0, 0].tolist() == [0, 1, 2]


CONFIG = """

train_cfg = dict(by_epoch=True, max_epochs=1)
train_dataloader = dict(batch_size=4, dataset=dict(type='examples.digits.DigitsDataset', split='train'),
    sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = dict(batch_size=4, dataset=[[1.0, 2.0], [3.0, 4.0]])
test_dataloader = dict(batch_size=4, dataset=dict(type='examples.digits.DigitsDataset', split='no'))
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    path = tmp_path / "c.py"
    path.write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return str(path)


def test_the_command_draws_and_lists(config, tmp_path, capsys):
    assert main(["browse", config, "-n", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "sample 0: 6",
        "    inputs  float32 (1, 8, 8), 0 to 1",
        "    labels  int64 (), 6 to 6",
        "sample 1: 6",
        "    inputs  float32 (1, 8, 8), 0 to 1",
        "    labels  int64 (), 6 to 6",
        "wrote train.png",
    ]
    assert (tmp_path / "train.png").is_file()
    assert main(["browse", config, "-n", "1", "-o", "each"]) == 0
    assert [path.name for path in (tmp_path / "each").iterdir()] == ["0_input.png"]


def test_without_matplotlib_samples_are_listed(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("mm2pl.cli.browse.find_spec", lambda name: None)
    assert main(["browse", config, "-n", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        "train.png is not drawn: matplotlib is missing → pip install mm2pl[visual]"
    )
    assert main(["browse", config, "-n", "1", "-o", "x.png"]) == 2
    assert "x.png needs matplotlib" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["c.py"]


def test_numbers_are_listed(config, tmp_path, capsys):
    assert main(["browse", config, "--split", "val", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found[1] == {"index": 1, "label": "", "parts": {"0": "float 3.0", "1": "float 4.0"}}
    assert [path.name for path in tmp_path.iterdir()] == ["c.py"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--split", "test"], "test_dataloader cannot be read (ValueError: split='no'"),
        (["--split", "val", "-o", "x.png"], "no sample holds a picture"),
        (["-o", "no/x.png"], "the folder 'no' of 'x.png' does not exist"),
        (["-o", "x.doc"], "'x.doc': no picture has this ending"),
        (["-n", "0"], "--count 0 → a positive number"),
        (["--cfg-options", "train_dataloader=None"], "the config has no `train_dataloader`"),
    ],
)
def test_mistakes_are_one_message(config, capsys, words, message):
    assert main(["browse", config, *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
