"""Runs next to each other."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
import torch

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.runs.compare import MISSING, compare, tables
from mm2pl.runs.configs import read_config
from mm2pl.runs.curves import axis_of, curves
from mm2pl.runs.folders import work_dir
from mm2pl.runs.page import page
from mm2pl.runs.record import Run
from mm2pl.runs.tables import plain
from mm2pl.runs.weights import compare_weights


def of(*folders):
    return [Run(work_dir(each)) for each in folders]


def sections(*folders):
    return {each.title: dict(each.rows) for each in compare(of(*folders)).sections}


def test_only_what_differs_is_shown(made):
    found = sections(made.mmengine("a"), made.mmengine("b", lr=0.3))
    assert found["config"] == {"optim_wrapper.optimizer.lr": ["0.1", "0.3"]}
    assert found["environment"] == {"seed": ["10", "30"]}
    assert found["results"]["acc, best"] == ["76.1 at epoch 2", "76.3 at epoch 2"]
    assert list(found["checkpoints"]) == ["epoch_4.pth"]


def test_a_part_that_one_run_has_is_one_row(made):
    found = sections(made.mmengine("a"), made.mmcv("b"))
    assert found["config"]["runner"] == [MISSING, "{'type': 'EpochBasedRunner', 'max_epochs': 3}"]
    assert found["config"]["launcher"] == ["none", MISSING]
    assert found["environment"]["seed"] == ["10", "1"]
    assert "seed, last" not in found["results"]


def test_the_same_run_twice(made):
    folder = made.mmengine()
    text = plain(tables(compare(of(folder, folder))))
    assert text.splitlines()[:5] == [
        "config",
        "  the same in all",
        "",
        "environment",
        "  the same in all",
    ]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (
            "'" + "x" * 90 + "1'",
            "'" + "x" * 90 + "2'",
            ["..." + "x" * 20 + "1", "..." + "x" * 20 + "2"],
        ),
        ("1", "'1'", ["1", "'1'"]),
        ("'a  b'", "'a b'", ["'a  b'", "'a b'"]),
    ],
    ids=["far behind", "a number and a text", "spaces"],
)
def test_values_are_compared_and_not_what_is_shown(made, one, other, expected):
    folders = made.mmengine("a"), made.mmengine("b")
    for folder, value in zip(folders, (one, other), strict=True):
        config = folder / "20260101_100000" / "vis_data" / "config.py"
        config.write_text(config.read_text() + f"name = {value}\n")
    assert sections(*folders)["config"] == {"name": expected}


CONFIGS = {
    "a tuple": ("a = (1, dict(b=2))\n", {"a": (1, {"b": 2})}),
    "a call": (
        "import os\na = [os.getcwd(), -1]\nb = f(x)\n",
        {"a": ["os.getcwd()", -1], "b": "f(x)"},
    ),
    "damaged": ("a = dict(\n", {}),
    "zeros": ("\x00\x00", {}),
}


@pytest.mark.parametrize(("text", "expected"), CONFIGS.values(), ids=CONFIGS)
def test_a_config_is_read_and_not_executed(tmp_path, text, expected):
    (tmp_path / "c.py").write_text(text)
    assert read_config(tmp_path / "c.py") == expected


def saved(path, **weights):
    torch.save({"meta": {}, "state_dict": {k: torch.tensor(v) for k, v in weights.items()}}, path)
    return path


def test_weights(tmp_path):
    a = saved(tmp_path / "a.pth", same=[1.0], far=[3.0, 4.0], shape=[1.0], gone=[1.0])
    b = saved(tmp_path / "b.pth", same=[1.0], far=[3.0, 5.0], shape=[1.0, 2.0])
    found = compare_weights([a, b])
    assert dict(found.rows) == {
        "file": ["a.pth", "b.pth"],
        "far": ["", "0.2"],
        "shape": ["", "(2,) instead of (1,)"],
        "gone": ["", MISSING],
    }
    assert found.note == "1 of 4 are the same in all"


def test_entries_that_are_no_weights_are_compared(tmp_path):
    extra = {"a": [torch.ones(2)], "b": "x"}
    paths = [tmp_path / "a.pth", tmp_path / "b.pth"]
    for path, other in zip(paths, (1, 2), strict=True):
        state = {"w": torch.ones(1), "head._extra_state": extra, "other._extra_state": {"n": other}}
        torch.save({"meta": {}, "state_dict": state}, path)
    found = compare_weights(paths)
    assert [name for name, _ in found.rows] == ["file", "other._extra_state"]


def test_weights_of_a_damaged_file(tmp_path):
    (tmp_path / "b.pth").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match=r"b\.pth"):
        compare_weights([saved(tmp_path / "a.pth", w=[1.0]), tmp_path / "b.pth"])


class Balance(HTMLParser):
    """Count elements that are opened, and not closed."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_whole_and_needs_no_other_file(made):
    runs = of(made.mmengine("<a>"), made.mmengine("b", lr=0.3))
    text = page(compare(runs), curves(runs), axis_of(runs))
    balance = Balance()
    balance.feed(text)
    assert (balance.open, text.count("<svg"), "<a>" in text) == ([], 2, False)
    # No picture, style or script from elsewhere; names of XML are no files.
    assert re.findall(r"(?:src|href)=\"(?!#)", text.replace('xlink:href="#', "")) == []


def test_a_config_that_cannot_be_read_is_said(made):
    text = plain(tables(compare(of(made.mmengine("a"), made.damaged("b")))))
    config = text.partition("\n\n")[0].splitlines()
    assert config[-1] == "  not every run has left a config that can be read"
    assert [line.split()[0] for line in config[2:-1]] == [
        "optim_wrapper",
        "train_cfg",
        "default_hooks",
        "launcher",
    ]
