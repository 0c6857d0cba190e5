"""Data sets equal to MMEngine's, entry for entry and byte for byte."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mm2pl import dataset as ours

pytestmark = pytest.mark.parity
theirs = pytest.importorskip("mmengine.dataset")
PACKAGES = [ours, theirs]

CATEGORIES = [[0], [0, 1], [0], [2, 1], [], [0], [0], [0, 3, 3]]
CONTENT = {
    "metainfo": {"classes": ["a"], "task": "x"},
    "data_list": [{"img_path": f"{n}.jpg", "n": n, "cats": c} for n, c in enumerate(CATEGORIES)],
}


@pytest.fixture
def ann_file(tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps(CONTENT))
    return path


def classes(package) -> dict:
    class Cats(package.BaseDataset):
        METAINFO = {"task": "y"}  # noqa: RUF012

        def get_cat_ids(self, idx):
            return self.get_data_info(idx)["cats"]

    class Half(Cats):
        def filter_data(self):
            return [entry for entry in self.data_list if entry["n"] % self.filter_cfg["by"] == 0]

    return {"base": package.BaseDataset, "cats": Cats, "half": Half}


OPTIONS = [
    ("base", {}),
    ("base", {"data_prefix": {"img_path": "/abs"}}),
    ("base", {"data_prefix": {"img_path": ""}, "data_root": ""}),
    ("base", {"data_prefix": {}, "serialize_data": False}),
    ("base", {"data_root": "root/deeper/"}),
    ("base", {"indices": 3}),
    ("base", {"indices": -3, "serialize_data": False}),
    ("base", {"indices": [4, -1, 0]}),
    ("cats", {"metainfo": {"classes": ["b", "c"], "n": 3}}),
    ("cats", {"lazy_init": True}),
    ("half", {"filter_cfg": {"by": 2}, "data_prefix": {"img_path": "pics"}}),
    ("half", {"filter_cfg": {"by": 3}, "indices": 2}),
]


def described(dataset) -> tuple:
    length = len(dataset)
    return (
        [dataset[index] for index in range(length)],
        [dataset.get_data_info(index) for index in range(1 - length, 0)],
        dataset.metainfo,
    )


@pytest.mark.parametrize(("cls", "options"), OPTIONS, ids=str)
def test_data_sets(cls, options, ann_file):
    options = {"data_prefix": {"img_path": "train"}, "data_root": "root", **options}
    pair = [classes(package)[cls](str(ann_file), **options) for package in PACKAGES]
    for dataset in pair:
        dataset.full_init()
    assert described(pair[0]) == described(pair[1])
    if options.get("serialize_data", True):
        assert np.array_equal(pair[0].data_bytes, pair[1].data_bytes)
        assert np.array_equal(pair[0].data_address, pair[1].data_address)


@pytest.mark.parametrize("serialize_data", [True, False])
@pytest.mark.parametrize("indices", [0, 1, 5, -1, -7, [0, 3, -2, 3], []], ids=str)
def test_subsets(indices, serialize_data, ann_file):
    pair = [
        package.BaseDataset(str(ann_file), serialize_data=serialize_data) for package in PACKAGES
    ]
    mine, reference = (dataset.get_subset(indices) for dataset in pair)
    assert described(mine) == described(reference)
    for dataset in pair:
        dataset.get_subset_(indices)
    assert described(pair[0]) == described(pair[1])


@pytest.mark.parametrize("oversample_thr", [1e-3, 0.2, 0.3, 0.9, 5.0])
def test_class_balance(oversample_thr, ann_file):
    mine, reference = (
        p.ClassBalancedDataset(classes(p)["cats"](str(ann_file)), oversample_thr) for p in PACKAGES
    )
    assert mine.repeat_indices == reference.repeat_indices
    factors = [d._get_repeat_factors(d.dataset, oversample_thr) for d in (mine, reference)]
    assert factors[0] == factors[1]
    assert described(mine) == described(reference)


@pytest.mark.parametrize("name", ["RepeatDataset", "ConcatDataset"])
def test_wrappers(name, ann_file):
    def build(package):
        parts = [package.BaseDataset(str(ann_file), indices=indices) for indices in (3, -2)]
        return (
            package.RepeatDataset(parts[0], 4) if name[0] == "R" else package.ConcatDataset(parts)
        )

    mine, reference = map(build, PACKAGES)
    assert described(mine) == described(reference)
    assert [mine[-1], mine[-2]] == [reference[-1], reference[-2]]


def test_a_failing_pipeline_draws_the_same_other_entries(ann_file):
    drawn = []
    for package in PACKAGES:
        np.random.seed(5)
        keep = package.BaseDataset(
            str(ann_file), pipeline=[lambda e: e if e["n"] > 5 else None], max_refetch=50
        )
        drawn.append([keep[0]["n"] for _ in range(30)])
    assert drawn[0] == drawn[1]


def test_theirs_in_our_wrappers(ann_file):
    mixed = ours.ConcatDataset([p.BaseDataset(str(ann_file)) for p in PACKAGES])
    assert described(mixed)[0][:8] == described(mixed)[0][8:]
