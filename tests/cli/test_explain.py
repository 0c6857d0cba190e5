"""``mm2pl explain`` of a config of MMCV 1.x executes nothing of it."""

from __future__ import annotations

import pytest

from mm2pl.cli import main

WRITES = "import pathlib\npathlib.Path(__file__).with_suffix('.ran').write_text('')\n"
OLD = "data = dict(train=dict(type='A'))\nlr_config = dict(policy='step', step=[8])\nn = 2 * 4\n"
NEW = "model = dict(type='A')\ntrain_dataloader = dict()\noptim_wrapper = dict()\n"


@pytest.mark.parametrize(
    ("text", "ran", "told"),
    [
        (OLD, False, "this is an MMCV 1.x config as a whole"),
        (WRITES + OLD, False, "explain does not execute such a file"),
        (OLD + "_base_ = 'base.py'\n" + WRITES, False, "explain does not execute such a file"),
        ("_base_ = 'base.py'\ntotal_epochs = 2\n", False, "explain does not execute such a file"),
        (WRITES + NEW, True, "optim_wrapper"),
        ("x = open(__file__)\n" + OLD, False, "explain does not execute such a file"),
        ("class A:\n    x = 1\n" + WRITES + OLD, False, "explain does not execute such a file"),
    ],
    ids=[
        "plain",
        "writes",
        "with a base",
        "its base writes",
        "of today",
        "opens",
        "more than names",
    ],
)
def test_nothing_of_1x_is_executed(tmp_path, capsys, text, ran, told):
    (tmp_path / "base.py").write_text(WRITES + OLD)
    config = tmp_path / "config.py"
    config.write_text(text)
    assert main(["explain", str(config)]) == 2
    assert told in "".join(capsys.readouterr())
    assert [path.name for path in tmp_path.glob("*.ran")] == ["config.ran"] * ran
