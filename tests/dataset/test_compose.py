from __future__ import annotations

import pytest

from mm2pl.dataset import Compose
from mm2pl.dataset.base_dataset import Compose as ComposeOfBaseDataset
from mm2pl.registry import DATASETS, TRANSFORMS


class Add:
    def __init__(self, n=1):
        self.n = n

    def __call__(self, value):
        return value + self.n

    def __repr__(self):
        return f"Add({self.n})"


class NotCallable:
    pass


def test_in_order():
    TRANSFORMS.register_module(name="Add", module=Add)
    compose = Compose([{"type": "Add", "n": 3}, Add(), {"type": Add}])
    assert compose(1) == 6
    assert repr(compose) == "Compose(\n    Add(3)\n    Add(1)\n    Add(1)\n)"


def test_none_ends_it():
    assert Compose([lambda value: None, Add()])(1) is None


@pytest.mark.parametrize("empty", [None, [], ()])
def test_nothing_to_do(empty):
    assert Compose(empty)("same") == "same"


@pytest.mark.parametrize(
    ("given", "match"),
    [
        (3, "callable object or dict, but got <class 'int'> from 3"),
        ({"type": NotCallable}, "got <class '.*NotCallable'> from"),
    ],
    ids=["int", "config"],
)
def test_not_callable(given, match):
    with pytest.raises(TypeError, match=match):
        Compose([given])


def test_a_function_that_builds_a_foreign_data_set():
    """As the tutorials register torchvision's: the transforms are built with it."""

    @DATASETS.register_module(name="Foreign", force=False)
    def build_foreign(transform=None, **kwargs):
        if isinstance(transform, (list, tuple)):
            transform = ComposeOfBaseDataset(transform)
        return {"transform": transform, **kwargs}

    TRANSFORMS.register_module("AddOne", module=Add)
    built = DATASETS.build({"type": "Foreign", "root": "x", "transform": [{"type": "AddOne"}]})
    assert (built["root"], built["transform"](1)) == ("x", 2)


def test_torchvision():
    tvt = pytest.importorskip("torchvision.transforms")
    TRANSFORMS.register_module("Pad", module=tvt.Pad)
    assert Compose([{"type": "Pad", "padding": 2}]).transforms[0].padding == 2
