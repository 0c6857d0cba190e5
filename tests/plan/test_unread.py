"""Variables that nothing reads, in the files of a config."""

from __future__ import annotations

import pytest

from mm2pl.config import Config
from mm2pl.plan.unread import redefined

BASE = """\
lr = 0.1
norm_cfg = dict(type='BN')
train_pipeline = [dict(type='Load')]
optimizer = dict(type='SGD', lr=lr)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
train_dataloader = dict(dataset=dict(type='Set', pipeline=train_pipeline))
"""

CHILDREN: dict[str, tuple[str, list[str]]] = {
    "nothing": ("", []),
    "a pipeline": ("train_pipeline = [dict(type='Other')]", ["train_pipeline"]),
    "an optimizer": ("optimizer = dict(lr=0.2)", ["optimizer"]),
    "two": ("lr = 3\noptimizer = dict(lr=0.2)", ["lr", "optimizer"]),
    "read again": (
        "train_pipeline = [dict(type='Other')]\n"
        "train_dataloader = dict(dataset=dict(pipeline=train_pipeline))",
        [],
    ),
    "the same value": ("lr = 0.1", []),
    "taken away": ("train_pipeline = None", []),
    "a setting that no base has": ("batch_size = 4", ["batch_size"]),
    "a helper that no base reads": ("norm_cfg = dict(type='SyncBN')", []),
    "a helper of its own": ("img_size = 224", []),
    "a key": ("optim_wrapper = dict(optimizer=dict(lr=3))", []),
}


@pytest.mark.parametrize("name", CHILDREN)
def test_old_style(name, tmp_path):
    text, expected = CHILDREN[name]
    (tmp_path / "base.py").write_text(BASE)
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = './base.py'\n{text}\n")
    found = redefined(Config.fromfile(child))
    assert [fault.path for fault in found] == expected
    assert all(fault.origin and fault.origin.filename == str(child) for fault in found)


@pytest.mark.parametrize("name", CHILDREN)
def test_pure_style(name, tmp_path):
    text, expected = CHILDREN[name]
    (tmp_path / "base.py").write_text(BASE)
    child = tmp_path / "child.py"
    text = text.replace("dict(lr=0.2)", "dict(type='SGD', lr=0.2)")
    child.write_text(
        f"from mm2pl.config import read_base\nwith read_base():\n    from .base import *\n{text}\n"
    )
    assert [fault.path for fault in redefined(Config.fromfile(child))] == expected


def test_a_variable_of_the_base_by_its_name(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    (tmp_path / "middle.py").write_text("_base_ = './base.py'\nlr = 3\n")
    child = tmp_path / "child.py"
    child.write_text("_base_ = './middle.py'\nparam_scheduler = dict(eta_min={{_base_.lr}})\n")
    assert redefined(Config.fromfile(child)) == []


def test_where_it_was_used(tmp_path):
    (tmp_path / "base.py").write_text(BASE)
    child = tmp_path / "child.py"
    child.write_text("_base_ = './base.py'\nlr = 3\n")
    (fault,) = redefined(Config.fromfile(child))
    assert str(fault) == (
        f"{child}:2: lr=3 → nothing reads it: base.py:1 has used its own value already; "
        "set optim_wrapper.optimizer.lr"
    )
