"""Fields of a data element: two kinds, kept apart and in order."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from mm2pl.structures import BaseDataElement
from mm2pl.structures.base_data_element import FieldNames


class Sample(BaseDataElement):
    """What toolboxes do: a property in front of a typed private field."""

    @property
    def gt(self):
        return self._gt

    @gt.setter
    def gt(self, value):
        self.set_field(value, "_gt", dtype=BaseDataElement)

    @gt.deleter
    def gt(self):
        del self._gt


@pytest.fixture
def element():
    return BaseDataElement(
        metainfo={"img_shape": (4, 6), "path": "a.png"}, boxes=torch.ones(2, 4), labels=np.arange(2)
    )


def test_fields_are_listed_by_kind_and_in_order(element):
    element.scores = torch.zeros(2)
    assert element.metainfo_keys() == ["img_shape", "path"]
    assert element.keys() == ["boxes", "labels", "scores"]
    assert element.all_keys() == ["img_shape", "path", "boxes", "labels", "scores"]
    assert [k for k, _ in element.all_items()] == element.all_keys()
    assert element.metainfo_values() == [(4, 6), "a.png"]
    assert element.metainfo == {"img_shape": (4, 6), "path": "a.png"}
    assert len(element.values()) == 3
    assert len(element.all_values()) == 5


def test_metainfo_is_copied_deeply():
    meta = {"scale": [1, 2]}
    element = BaseDataElement(metainfo=meta)
    meta["scale"].append(3)
    assert element.scale == [1, 2]
    assert element.new().scale is not element.scale


def test_data_is_not_copied(element):
    assert element.new().boxes is element.boxes
    assert element.clone().labels is element.labels


def test_new_replaces_what_is_given(element):
    other = element.new(metainfo={"id": 3}, masks=torch.zeros(1))
    assert other.all_keys() == ["id", "masks"]
    assert element.new(masks=torch.zeros(1)).metainfo_keys() == ["img_shape", "path"]


def test_update_takes_over_all_fields(element):
    element.update(BaseDataElement(metainfo={"path": "b.png"}, boxes=torch.zeros(1), masks=1))
    assert element.path == "b.png"
    assert element.keys() == ["boxes", "labels", "masks"]


def test_deleting_and_popping(element):
    del element.path
    del element["labels"]
    assert "path" not in element
    assert "labels" not in element
    assert torch.equal(element.pop("boxes"), torch.ones(2, 4))
    assert element.pop("boxes", None) is None
    assert element.all_keys() == ["img_shape"]
    assert element.get("path", "none") == "none"


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda e: e.pop("nothing"), KeyError, "nothing is not contained in metainfo or data"),
        (lambda e: e.pop("a", 1, 2), AssertionError, "pop takes a name and perhaps a default"),
        (lambda e: e.set_metainfo(3), AssertionError, "metainfo should be a dict, but got 3"),
        (lambda e: e.set_data([1]), AssertionError, r"data should be a dict, but got \[1\]"),
        (lambda e: e.update({}), AssertionError, "instance should be a BaseDataElement"),
        (
            lambda e: setattr(e, "path", 1),
            AttributeError,
            "path to be a field of data because path is already a metainfo field",
        ),
        (
            lambda e: e.set_metainfo({"boxes": 1}),
            AttributeError,
            "boxes to be a field of metainfo because boxes is already a data field",
        ),
        (lambda e: setattr(e, "_data_fields", 1), AttributeError, "_data_fields has been used"),
        (lambda e: delattr(e, "_metainfo_fields"), AttributeError, "which is immutable"),
        (lambda e: delattr(e, "nothing"), AttributeError, "nothing"),
        (lambda e: e.set_field(1, "x", field_type="label"), AssertionError, "field_type='label'"),
        (lambda e: e.set_field(1, "x", dtype=str), AssertionError, "1 should be a <class 'str'>"),
    ],
)
def test_wrong_use_is_told(element, act, error, message):
    with pytest.raises(error, match=message):
        act(element)
    assert element.all_keys() == ["img_shape", "path", "boxes", "labels"]


def test_a_property_stands_for_its_private_field():
    sample = Sample(gt=BaseDataElement(a=1))
    assert sample.keys() == ["gt"]
    assert "_gt" in sample
    assert sample.new().gt is sample.gt
    with pytest.raises(AssertionError, match="should be a"):
        sample.gt = 3
    del sample.gt
    assert sample.keys() == []


def test_a_property_can_be_popped():
    sample = Sample(gt=BaseDataElement(a=1))
    assert sample.pop("gt").a == 1
    assert sample.all_keys() == []


@pytest.mark.parametrize("method", ["cpu", "detach"])
def test_tensor_methods_return_a_new_element(method):
    inner = BaseDataElement(x=torch.ones(1, requires_grad=True))
    element = BaseDataElement(t=torch.ones(2, requires_grad=True) * 2, inner=inner, name="n")
    moved = getattr(element, method)()
    assert moved is not element
    assert moved.t.requires_grad == (method == "cpu")
    assert moved.inner.x.requires_grad == (method == "cpu")
    assert moved.name == "n"


def test_to_converts_whatever_has_it():
    element = BaseDataElement(a=torch.ones(2), b=BaseDataElement(c=torch.ones(1)), d=np.ones(1))
    half = element.to(torch.float16)
    assert (half.a.dtype, half.b.c.dtype) == (torch.float16, torch.float16)
    assert half.d.dtype == np.float64


def test_to_arrays_and_back(element):
    arrays = element.numpy()
    assert isinstance(arrays.boxes, np.ndarray)
    tensors = arrays.to_tensor()
    assert torch.equal(tensors.boxes, torch.ones(2, 4))
    assert torch.equal(tensors.labels, torch.arange(2))


def test_to_dict_goes_into_elements(element):
    element.inner = BaseDataElement(metainfo={"m": 1}, x=2)
    assert element.to_dict()["inner"] == {"m": 1, "x": 2}


def test_repr_is_indented_and_in_order():
    element = BaseDataElement(
        metainfo={"shape": (1, 2)}, inner=BaseDataElement(x=torch.zeros(2, 2)), n=[1]
    )
    assert repr(element).replace(hex(id(element)), "0x1").replace(
        hex(id(element.inner)), "0x2"
    ) == (
        "<BaseDataElement(\n"
        "\n"
        "    META INFORMATION\n"
        "    shape: (1, 2)\n"
        "\n"
        "    DATA FIELDS\n"
        "    inner: <BaseDataElement(\n"
        "        \n"
        "            META INFORMATION\n"
        "        \n"
        "            DATA FIELDS\n"
        "            x: tensor([[0., 0.],\n"
        "                        [0., 0.]])\n"
        "        ) at 0x2>\n"
        "    n: [1]\n"
        ") at 0x1>"
    )


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))], ids=["deepcopy", "pickle"]
)
def test_copies_are_independent(element, copied):
    other = copied(element)
    other.boxes += 1
    other.more = 1
    assert element.keys() == ["boxes", "labels"]
    assert torch.equal(element.boxes, torch.ones(2, 4))
    assert other.metainfo == element.metainfo


def test_field_names_behave_as_a_set():
    names = FieldNames("ab")
    names.add("b")
    names.remove("a")
    assert list(names | {"c"}) == ["b", "c"]
    assert names == {"b"}
    assert repr(FieldNames("xy")) == "{'x', 'y'}"
    with pytest.raises(KeyError, match="z"):
        names.remove("z")
