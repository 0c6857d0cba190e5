"""What public projects use (``census.tsv``) is served, or stands here with the reason."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mm2pl.mmcv.runner import EpochBasedRunner
from mm2pl.runner import FlexibleRunner
from tests.compat.census import used
from tests.compat.test_names import python

LINES = [
    line.split("\t") for line in (Path(__file__).parent / "census.tsv").read_text().splitlines()
]
PROJECTS = [line[1:] for line in LINES if line[0] == "project"]
ROWS = [(*line[:4], int(line[4])) for line in LINES if line[0] != "project"]
TWO = [row[:4] for row in ROWS if row[4] >= 2]
"""Generation, kind, module and name of what at least two projects use."""

NOT_SERVED = {
    ("mmcv.utils", "ext_loader"): "loads compiled operators, which stay MMCV's",
    ("mmcv.utils.ext_loader", "check_ops_exist"): "of the same module",
}
NOT_THE_RUNNERS = {
    **{("mmcv", name): "set by code of the projects' own" for name in ("eval_model", "ema_model")},
    **{
        ("mmengine", name): "of 1.x' runner, in code that such projects keep from before"
        for name in (
            *(
                "run",
                "data_loader",
                "log_buffer",
                "optimizer",
                "outputs",
                "register_training_hooks",
            ),
        )
    },
}

SERVED = """
import importlib, json, sys
from mm2pl.compat import alias_mmengine
alias_mmengine(force=True)
missing = []
for module, name in json.load(sys.stdin):
    path = module if module.startswith("mmengine") else f"mm2pl.{module}"
    try:
        found = importlib.import_module(path)
        if name and not hasattr(found, name):
            importlib.import_module(f"{path}.{name}")
    except ImportError:
        missing.append((module, name))
print(json.dumps(missing))
"""


def test_every_name_that_two_projects_use():
    asked = [
        [module, name]
        for _, kind, module, name in TWO
        # Of `mmcv` itself most is images and layers, which stay MMCV's; of a star every name.
        if kind in ("import", "type") and module != "mmcv" and name != "*"
    ]
    missing = json.loads(python(SERVED, json.dumps(asked)))
    assert {tuple(pair) for pair in missing} == set(NOT_SERVED)
    assert len(asked) > 350


def test_every_attribute_of_a_runner_that_two_projects_read(tmp_path):
    from torch import nn

    from mm2pl.mmcv.utils import get_logger

    runners = {
        "mmengine": FlexibleRunner(nn.Linear(1, 1), work_dir=str(tmp_path)),
        "mmcv": EpochBasedRunner(
            nn.Linear(1, 1),
            batch_processor=lambda *args, **kwargs: None,
            work_dir=str(tmp_path),
            logger=get_logger("census"),
            max_epochs=1,
        ),
    }
    names = [(generation, name) for generation, kind, _, name in TWO if kind == "runner"]
    # Not by getattr: a property may need a whole run.
    missing = {row for row in names if row[1] not in dir(runners[row[0]])}
    assert missing == set(NOT_THE_RUNNERS)
    assert len(names) > 70


def test_the_census_is_of_many_projects():
    generations = [generation for generation, *_ in PROJECTS]
    assert len(PROJECTS) >= 100
    assert generations.count("mmcv") >= 60
    assert generations.count("mmengine") >= 30


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import mmengine as e\ne.Config", {("import", "mmengine", ""), ("import", "mmengine", "Config")}),
        (
            "from mmcv.runner.hooks import Hook\nfrom mmcv.ops import nms",
            {("import", "mmcv.runner.hooks", "Hook")},
        ),
        ("x = dict(type='mmengine.runner.runner.ValLoop')", {("type", "mmengine.runner.runner", "ValLoop")}),
        (
            "runner.iter, self.runner.model.x, other.iter",
            {("runner", "", "iter"), ("runner", "", "model")},
        ),
        ("from .mmengine import x", set()),
    ],
)  # fmt: skip
def test_what_is_counted(source, expected):
    assert set(used(ast.parse(source))) == expected
