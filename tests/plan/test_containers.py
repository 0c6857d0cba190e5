"""Containers of a config, and what YAML can hold of them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from mm2pl.config import ConfigDict, as_config
from mm2pl.plan.containers import as_dicts, live_objects


class Samples(list):
    """A data set that is a list and cannot be made of its items alone."""

    def __init__(self, items: Any, split: str) -> None:
        super().__init__(items)
        self.split = split


def test_dicts_get_attributes_and_objects_stay() -> None:
    samples = Samples([{"a": 1}], "train")
    made = as_config({"dataset": samples, "pipeline": [{"type": "Resize"}], "size": (1, {"w": 2})})
    assert made.dataset is samples
    assert type(samples[0]) is dict
    assert made.pipeline[0].type == "Resize"
    assert made.size[1].w == 2


def test_dicts_lose_attributes_and_objects_stay():
    samples = Samples([as_config({"a": 1})], "train")
    given = MappingProxyType({"dataset": samples, "size": (1, as_config({"w": {"x": [{}]}}))})
    made = as_dicts(given)
    assert type(made) is dict
    assert made["dataset"] is samples
    assert type(samples[0]) is ConfigDict
    assert type(made["size"][1]) is type(made["size"][1]["w"]) is dict
    assert made == given


def test_what_yaml_cannot_hold():
    data = {"a": [1, (2.5, None, True)], "b": {"c": [set(), {"d": Samples([1j], "")}]}, 3: len}
    assert live_objects(data) == [("b.c.0", set()), ("b.c.1.d.0", 1j), ("3", len)]
