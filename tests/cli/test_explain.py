"""``mm2pl explain`` executes nothing of a config of MMCV 1.x, and imports torch for few of today's."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize(
    ("name", "text", "asked"),
    [
        ("c.json", '{"_base_": "base.py", "total_epochs": 3}', "c.json"),
        ("c.yaml", "_base_: base.py", "c.yaml"),
        ("c.py", "_base_ = 'base.py'\nmodel = dict(type='A')\n", "c.py"),
        ("c.py", "x = '.'\n_base_ = [f'{x}/base.py']\n", "c.py"),
        ("c.py", "_base_ = 'told::base.py'\nmodel = dict(type='A')\n", "c.py"),
        ("c.py", "_base_ = ['c.py', 'gone.py']\ndata = dict()\n" + WRITES, "c.py"),
        ("c.py", "if True:\n    data = dict()\n" + WRITES, "c.py"),
        ("c.py", "_base_ = open('c.ran', 'w').name\ndata = dict()\n", "c.py"),
        ("c.py", "", "told::base.py"),
    ],
    ids=[
        *("json", "yaml", "its base alone", "computed", "base of a package", "cycle", "under if"),
        *("a call", "of a package"),
    ],
)
def test_by_any_door(tmp_path, capsys, monkeypatch, name, text, asked):
    folder = tmp_path / "told/.mim/configs"
    folder.mkdir(parents=True)
    (tmp_path / "told/__init__.py").write_text(WRITES)
    for base in (folder, tmp_path):
        (base / "base.py").write_text(WRITES + OLD)
    (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert main(["explain", asked]) == 2
    assert "explain does not execute such a file" in capsys.readouterr().err
    assert list(tmp_path.rglob("*.ran")) == []


def test_what_convert_wrote_is_none(tmp_path, capsys):
    config, written = tmp_path / "c.py", tmp_path / "c.yaml"
    types = "custom_hooks = [dict(type='NoSuchHook')]\n"
    config.write_text("train_cfg = dict(by_epoch=True, max_epochs=1)\n" + types)
    assert main(["convert", str(config), "-o", str(written)]) == 0
    # Its `data` is no key of MMCV 1.x, whose types would not be looked up.
    assert main(["explain", str(written)]) == 2
    assert "a name of the mm2pl::hook registry" in capsys.readouterr().out


RUN = """
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=0.1, momentum=0.9))
param_scheduler = [dict(type='LinearLR', start_factor=0.1), dict(type='MultiStepLR', milestones=[2])]
train_dataloader = dict(
    batch_size=2, sampler=dict(type='DefaultSampler'), collate_fn=dict(type='default_collate'),
    dataset=dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[])))
default_hooks = dict(logger=dict(type='LoggerHook', interval=5), checkpoint=dict(type='CheckpointHook'))
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
visualizer = dict(type='Visualizer', vis_backends=[dict(type='TensorboardVisBackend')])
log_processor = dict(type='LogProcessor', window_size=5)
"""


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        (RUN + "default_scope = 'mmengine'\n", 0, "stepped by mm2pl on MMEngine's two clocks"),
        (RUN + "tta_model = dict(type='BaseTTAModel', module=dict(type='Net'))\n", 0, "tta_model"),
        (RUN + "custom_hooks = [dict(type='EMAHook', momentum='x')]\n", 2, "a number or None"),
        (RUN + "custom_hooks[0]['intervall'] = 1\n", 0, "custom_hooks.0"),
        (RUN + "optim_wrapper['optimizer']['mom'] = 1\n", 2, "unknown to SGD"),
        (RUN + "model = dict(type='RetinaNet')\ndefault_scope = 'mmdet'\n", 0, "RetinaNet"),
        ("_base_ = 'run.py'\nvisualizer = None\n", 0, "set by"),
    ],
    ids=[
        *("of today", "a part that nobody registers", "wrong value", "any argument"),
        *("unknown argument", "toolbox that is not there", "with a base"),
    ],
)
def test_known_types_need_no_torch(tmp_path, text, code, told):
    (tmp_path / "run.py").write_text(RUN)
    rows, last = explained(tmp_path / "config.py", text)
    assert last == f"{code} set()", rows
    assert told in rows


def explained(config, text):
    """Explain a config in a process of its own; return the table, and the code and the packages imported by then."""
    config.write_text(text)
    program = (
        "import sys; from mm2pl.cli import main; code = main(['explain', sys.argv[1]]);"
        "print(code, {'torch', 'lightning', 'numpy'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", program, str(config)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    rows, _, last = done.stdout.strip().rpartition("\n")
    return rows, last


def test_the_neighbours_of_a_wrong_name_are_told(tmp_path):
    names = ("EMAHok", "EpochBasedTrainLoop", "ModelCheckpoint")
    text = f"custom_hooks = [dict(type=name) for name in {names}]\n"
    rows, last = explained(tmp_path / "config.py", RUN + text)
    assert "Did you mean 'EMAHook'" in rows
    assert "EpochBasedTrainLoop is registered in mm2pl::loop, which was not searched." in rows
    assert "write type='lightning.pytorch.callbacks.ModelCheckpoint'" in rows
    assert last == "2 set()"


def test_only_torch_itself_knows_that_it_has_no_such_optimizer(tmp_path):
    text = "optim_wrapper['optimizer']['type'] = 'SGDD'\n"
    rows, last = explained(tmp_path / "config.py", RUN + text)
    assert "Did you mean 'SGD'" in rows
    assert "'torch'" in last
    assert "'lightning'" not in last


def test_a_project_that_imports_torch_gets_no_lightning(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    (tmp_path / "told_net.py").write_text(
        "import torch\nfrom mm2pl.registry import MODELS\n@MODELS.register_module()\n"
        "class ToldNet(torch.nn.Module):\n    def __init__(self, head, width: int = 1): ...\n"
    )
    model = "model = dict(type='ToldNet', head=dict(type='Head'), depth=3)\n"
    imports = "custom_imports = dict(imports=['told_net'])\n"
    rows, last = explained(tmp_path / "config.py", RUN + model + imports)
    assert "unknown to ToldNet → head, width" in rows
    assert "'torch'" in last
    assert "'lightning'" not in last
