"""Plain data at the border of configs."""

from __future__ import annotations

from typing import Any

from mm2pl.config import as_config


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
