"""Which generation a config is of: one answer, which `mm2pl fit` and `mm2pl migrate` both give."""

from __future__ import annotations

import re

import pytest

from mm2pl.cli.main import main
from mm2pl.plan.legacy import is_legacy
from tests.plan.rows import problems

OLD = {"data": {}, "lr_config": {"policy": "fixed"}, "runner": {"max_epochs": 1}}
NEW = {"train_dataloader": {}, "optim_wrapper": {}, "train_cfg": {}}
CONFIGS = {
    "old": (OLD, True),
    "new": (NEW, False),
    "old with a scope": ({**OLD, "default_scope": "mmdet"}, True),
    "old with MMEngine's runtime": ({**OLD, "default_hooks": {}, "env_cfg": {}}, True),
    "new with old leftovers": ({**NEW, **OLD, "dist_params": {}}, False),
    "new test only": ({"test_dataloader": {}, "runner": {}}, False),
    "a base with the schedule": ({"optimizer": {}, "lr_config": {}}, True),
    "a base with the runtime": ({"log_config": {}, "dist_params": {}}, True),
    "a base with both runtimes": ({"dist_params": {}, "default_hooks": {}}, False),
    "a base with the model": ({"model": {}, "train_cfg": {}}, False),
    "a data module under the old name": ({"model": {}, "data": {"type": "my.Data"}}, False),
    "nothing": ({}, False),
}


@pytest.mark.parametrize(("config", "legacy"), CONFIGS.values(), ids=CONFIGS)
def test_is_legacy(config, legacy):
    assert is_legacy(config) is legacy


@pytest.mark.parametrize(("config", "legacy"), CONFIGS.values(), ids=CONFIGS)
def test_the_commands_agree(config, legacy, tmp_path, capsys):
    old, new = tmp_path / "old.py", tmp_path / "new.py"
    old.write_text("".join(f"{key} = {value!r}\n" for key, value in config.items()))
    assert any("mm2pl migrate" in row.note for row in problems(config)) is legacy
    assert main(["migrate", str(old), "-o", str(new)]) == (0 if legacy else 1)
    assert new.exists() is legacy
    assert (
        bool(re.search("is no 1.x config|only 1.x configs", capsys.readouterr().out)) is not legacy
    )
