"""Guesses at misspelt names."""

from __future__ import annotations

from itertools import count

import pytest

from mm2pl.closest import closest, did_you_mean, misspelt


@pytest.mark.parametrize(
    ("name", "known", "found"),
    [
        ("modle", ["x", "model"], ["model"]),
        ("sgdd", ["Adam", "SGD"], ["SGD"]),
        ("adamw", ["Adam", "AdamX", "AdamW"], ["AdamW", "Adam", "AdamX"]),
        ("x", ["model"], []),
        (5, [5], ["5"]),
        ("x" * 100_000, ["x" * 100_000], []),
        ("x", ["x" * 100_000, "xx"], ["xx"]),
        ("modle", map("model{}".format, count()), ["model9", "model8", "model7"]),
    ],
    ids=["swap", "case", "order", "none", "number", "long name", "long known", "endless"],
)
def test_closest(name, known, found):
    assert closest(name, known) == found


def test_did_you_mean():
    assert did_you_mean(["a", "b"]) == " Did you mean 'a' or 'b'?"
    assert did_you_mean(iter(())) == ""


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("optim_wraper", "optim_wrapper"),
        ("optom_wraper", "optim_wrapper"),
        ("optim_wrapper", None),
        ("optom_wrapr", None),
        ("val_cgg", "val_cfg"),
        ("val_ccc", None),
        ("al_cfg", None),
        ("Val_cfg", None),
    ],
    ids=["one", "two", "right", "three", "short", "short2", "first", "upper"],
)
def test_misspelt(name, meant):
    assert misspelt(name, ["optim_wrapper", "val_cfg"]) == meant
