from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from mm2pl.config import Config
from mm2pl.dataset import BaseDataset, force_full_init
from mm2pl.logging import MMLogger

ENTRIES = [{"img_path": f"{n}.jpg", "label": n % 3} for n in range(6)]
CONTENT = {"metainfo": {"task": "file", "classes": ["a", "b"]}, "data_list": ENTRIES}


@pytest.fixture
def ann_file(tmp_path):
    path = tmp_path / "annotations" / "train.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONTENT))
    return path


@pytest.fixture
def log(caplog):
    """What is logged, by a logger of this test."""
    logger = MMLogger.get_instance("test_base_dataset")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(params=[True, False], ids=["serialized", "list"])
def dataset(request, ann_file):
    return BaseDataset(str(ann_file), serialize_data=request.param)


def labels(dataset) -> list[int]:
    return [dataset[index]["label"] for index in range(len(dataset))]


def paths(dataset) -> list[str]:
    return [dataset[index]["img_path"] for index in range(len(dataset))]


class WithMeta(BaseDataset):
    METAINFO = {"task": "class", "palette": [1]}  # noqa: RUF012


class Filtered(BaseDataset):
    def filter_data(self):
        return [e for e in self.data_list if e["label"] in self.filter_cfg["labels"]]


class Frames(BaseDataset):
    def parse_data_info(self, raw_data_info):
        return [{**raw_data_info, "frame": frame} for frame in range(2)]


class Unparsed(BaseDataset):
    def parse_data_info(self, raw_data_info):
        return [raw_data_info["label"]]


def test_entries(dataset, ann_file):
    assert len(dataset) == 6
    assert labels(dataset) == [0, 1, 2, 0, 1, 2]
    assert dataset[4] == {"img_path": "4.jpg", "label": 1, "sample_idx": 4}
    assert dataset.get_data_info(-6)["sample_idx"] == 0
    assert dataset.get_data_info(-1) == {"img_path": "5.jpg", "label": 2, "sample_idx": 5}


def test_entries_are_fresh_copies(dataset):
    dataset.get_data_info(0)["label"] = 99
    assert dataset.get_data_info(0)["label"] == 0


@pytest.mark.parametrize(
    ("ann_file_is", "prefix_is", "options"),
    [
        ("{root}/annotations/train.json", "pics/0.jpg", {"data_root": "elsewhere"}),
        ("annotations/train.json", "{root}/pics/0.jpg", {"data_root": "{root}"}),
        ("annotations/train.json", "/pics/0.jpg", {"data_root": "{root}", "prefix": "/pics"}),
    ],
    ids=["absolute file", "relative", "absolute prefix"],
)
def test_data_root(ann_file_is, prefix_is, options, ann_file):
    root = str(ann_file.parent.parent)
    data_root = options["data_root"].format(root=root)
    prefix = {"img_path": options.get("prefix", "pics")}
    dataset = BaseDataset(ann_file_is.format(root=root), data_root=data_root, data_prefix=prefix)
    expected = prefix_is.format(root=root)
    assert dataset[0]["img_path"] == (
        f"elsewhere/{expected}" if "elsewhere" in data_root else expected
    )
    assert prefix == {"img_path": options.get("prefix", "pics")}


@pytest.mark.parametrize(
    ("cls", "metainfo", "expected"),
    [
        (BaseDataset, None, {"task": "file", "classes": ["a", "b"]}),
        (WithMeta, None, {"task": "class", "palette": [1], "classes": ["a", "b"]}),
        (
            WithMeta,
            {"task": "argument"},
            {"task": "argument", "palette": [1], "classes": ["a", "b"]},
        ),
        (BaseDataset, Config({"classes": ["c"]}), {"task": "file", "classes": ["c"]}),
    ],
    ids=["file", "class", "argument", "Config"],
)
def test_metainfo(cls, metainfo, expected, ann_file):
    dataset = cls(str(ann_file), metainfo=metainfo)
    assert dataset.metainfo == expected
    dataset.metainfo["task"] = "changed"
    assert dataset.metainfo == expected
    assert WithMeta.METAINFO == {"task": "class", "palette": [1]}


def test_metainfo_names_a_file_of_lines(tmp_path, log):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    metainfo = {"classes": str(names), "task": "detection"}
    dataset = BaseDataset(metainfo=metainfo, lazy_init=True)
    assert dataset.metainfo == {"classes": ["cat", "dog"], "task": "detection"}
    assert "detection is not a meta file, simply parsed as meta information" in log.text


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (None, [0, 1, 2, 0, 1, 2]),
        (2, [0, 1]),
        (-2, [1, 2]),
        (-6, [0, 1, 2, 0, 1, 2]),
        (6, [0, 1, 2, 0, 1, 2]),
        (0, []),
        ([5, 0, -1], [2, 0, 2]),
        ([], []),
    ],
    ids=str,
)
def test_indices_and_subsets(indices, expected, dataset, ann_file):
    cut = BaseDataset(str(ann_file), indices=indices, serialize_data=dataset.serialize_data)
    assert labels(cut) == expected
    if indices is None:
        return
    subset = dataset.get_subset(indices)
    assert (labels(subset), labels(dataset)) == (expected, [0, 1, 2, 0, 1, 2])
    assert subset.metainfo == dataset.metainfo
    dataset.get_subset_(indices)
    assert labels(dataset) == expected


def test_a_subset_shares_nothing(dataset):
    subset = dataset.get_subset([1, 2])
    dataset.get_subset_(1)
    assert (labels(subset), labels(dataset)) == ([1, 2], [0])
    assert subset.pipeline is not dataset.pipeline


def test_filter_and_several_entries_of_one(ann_file):
    assert labels(Filtered(str(ann_file), filter_cfg={"labels": [2]})) == [2, 2]
    assert labels(Filtered(str(ann_file), filter_cfg={"labels": []})) == []
    frames = Frames(str(ann_file))
    assert [frames[index]["frame"] for index in range(4)] == [0, 1, 0, 1]
    assert len(frames) == 12


def test_serialized_data_is_two_arrays(ann_file):
    dataset = BaseDataset(str(ann_file))
    assert dataset.data_list == []
    assert dataset.data_bytes.dtype == np.uint8
    assert dataset.data_address[-1] == len(dataset.data_bytes)
    assert pickle.loads(dataset.data_bytes[: dataset.data_address[0]].data) == ENTRIES[0]


def test_pipeline(ann_file):
    dataset = BaseDataset(str(ann_file), pipeline=[lambda e: e["label"], lambda label: label + 10])
    assert [dataset[0], dataset[5]] == [10, 12]


def test_a_failing_pipeline_tries_another_entry(ann_file):
    np.random.seed(1)
    options = {"pipeline": [lambda e: e if e["label"] == 2 else None]}
    dataset = BaseDataset(str(ann_file), **options)
    assert dataset[0]["label"] == 2
    with pytest.raises(Exception, match=r"Test time pipeline should not get `None`.*sample 0 of B"):
        BaseDataset(str(ann_file), test_mode=True, **options)[0]
    tried = []
    never = BaseDataset(str(ann_file), pipeline=[tried.append], max_refetch=3)
    with pytest.raises(Exception, match="Cannot find valid image after 3! The pipeline of BaseDa"):
        never[0]
    assert len(tried) == 4


@pytest.mark.parametrize("use", [len, lambda d: d[0], lambda d: d.get_data_info(0)])
def test_lazy_init(use, ann_file, log):
    dataset = BaseDataset(str(ann_file), lazy_init=True)
    assert (dataset._fully_initialized, dataset.metainfo) == (False, {})
    use(dataset)
    assert dataset._fully_initialized
    assert "full_init" in log.text
    log.clear()
    use(dataset)
    dataset.full_init()
    assert log.text == ""


def test_force_full_init_needs_full_init():
    class Bare:
        @force_full_init
        def method(self):
            return 1

    with pytest.raises(AttributeError, match="does not have full_init method"):
        Bare().method()


def test_get_cat_ids_is_for_subclasses(dataset):
    with pytest.raises(NotImplementedError, match="must implement `get_cat_ids`"):
        dataset.get_cat_ids(0)


def _written(name, content):
    def write(folder):
        (folder / name).write_bytes(content)
        return str(folder / name)

    return write


BROKEN = {
    "missing": (
        lambda folder: str(folder / "none.json"),
        FileNotFoundError,
        r"none.json' does not exist \(data_root='', working directory .*: check data_root",
    ),
    "no file": (lambda folder: "", TypeError, r"ann_file='': give the annotation file"),
    "cut json": (
        _written("a.json", b'{"metainfo": {}, "data_l'),
        ValueError,
        r"a.json' is broken or not in the format of its suffix \(JSONDecodeError",
    ),
    "cut pickle": (_written("a.pkl", pickle.dumps(CONTENT)[:-9]), ValueError, r"a.pkl' is broken"),
    "bad yaml": (_written("a.yaml", b"a: [1\nb: {"), ValueError, r"a.yaml' is broken"),
    "bad bytes": (_written("a.json", b"\xff\xfe\x00"), ValueError, r"a.json' is broken"),
    "suffix": (_written("a.csv", b"1,2"), TypeError, "csv"),
    "a list": (_written("a.json", b"[1]"), TypeError, r"should be a dict, but got <class 'list'>"),
    "no data_list": (
        _written("a.json", b'{"metainfo": {}, "images": []}'),
        ValueError,
        r"data_list and metainfo keys, but .*\['images', 'metainfo'\] and lacks \['data_list'\]",
    ),
    "no path": (
        _written("a.json", b'{"metainfo": {}, "data_list": [{"name": "x"}]}'),
        AssertionError,
        r"data_prefix has the key 'img_path', but the entry has only \['name'\]",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_annotation_files(case, tmp_path):
    write, error, match = BROKEN[case]
    with pytest.raises(error, match=match):
        BaseDataset(write(tmp_path))


@pytest.mark.parametrize(
    ("build", "error", "match"),
    [
        (lambda f: BaseDataset(f, metainfo="x"), TypeError, "metainfo should be a Mapping or Conf"),
        (lambda f: BaseDataset(f, data_prefix={"img": 3}), TypeError, "prefix should be a string"),
        (lambda f: BaseDataset(f, indices="3"), TypeError, "list indices|indices should be"),
        (lambda f: BaseDataset(f).get_subset(1.5), TypeError, "indices should be a int or sequ"),
        (lambda f: BaseDataset(f).get_subset(7), AssertionError, r"indices=7 is out of dataset l"),
        (lambda f: BaseDataset(f).get_subset(-7), AssertionError, r"out of dataset length\(6\)"),
        (lambda f: BaseDataset(f).get_subset([6]), AssertionError, r"has 6, out of dataset length"),
        (lambda f: Unparsed(f), TypeError, r"Unparsed.parse_data_info should return a dict or"),
        (lambda f: BaseDataset(f, pipeline=[3]), TypeError, r"transform must be a callable object"),
    ],
    ids=["metainfo", "prefix", "str", "float", "long", "short", "place", "parse", "pipeline"],
)
def test_wrong_arguments(build, error, match, ann_file):
    with pytest.raises(error, match=match):
        build(str(ann_file))
