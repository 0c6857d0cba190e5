"""Sources of 1.x and MMEngine projects rewritten: imports, hooks, and what is left alone."""

from __future__ import annotations

import ast
import copy
import importlib
import json
import shutil
import sys
from pathlib import Path

import pytest

from mm2pl.cli import main

pytest.importorskip("libcst")

from mm2pl.mmcv.codemod import migrate_code, migrate_text

HERE = Path(__file__).parent
GOLDEN = json.loads((HERE.parent / "data/mmcv_project_runs.json").read_text())

IMPORTS = [
    pytest.param("from mmcv import Config", "from mm2pl.config import Config", id="moved"),
    pytest.param(
        "from mmcv.runner import EpochBasedRunner as R",
        "from mm2pl.mmcv.runner import EpochBasedRunner as R",
        id="kept-in-1.x-runtime",
    ),
    pytest.param(
        "from mmengine.optim import OptimWrapper  # why",
        "from mm2pl.optim import OptimWrapper  # why",
        id="mmengine",
    ),
    pytest.param(
        "from mmengine.logging.logger import MMLogger",
        "from mm2pl.logging.logger import MMLogger",
        id="private-module",
    ),
    pytest.param(
        "from mmcv.runner import (  # a\n    HOOKS,  # b\n    auto_fp16,\n)",
        "# a\n# b\nfrom mm2pl.registry import HOOKS\nfrom mm2pl.mmcv.runner import auto_fp16",
        id="split-with-comments",
    ),
    pytest.param(
        "import os, mmcv\nmmcv.Config()",
        "import os\nimport mm2pl.config\nmm2pl.config.Config()",
        id="module",
    ),
    pytest.param(
        "import mmcv; x = mmcv.imread, mmcv.mkdir_or_exist",
        "import mmcv\nimport mm2pl.utils\nx = mmcv.imread, mm2pl.utils.mkdir_or_exist",
        id="partly",
    ),
    pytest.param(
        "import mmengine\nmmengine.fileio.load(mmengine.Config)",
        "import mm2pl\nimport mm2pl.fileio\nmm2pl.fileio.load(mm2pl.Config)",
        id="mmengine-module",
    ),
    pytest.param(
        "import mmcv.runner as r\nr.build_runner({})",
        "import mm2pl.mmcv.runner as r\nr.build_runner({})",
        id="alias",
    ),
    pytest.param(
        "from mmcv import runner\ndef f(runner):\n    runner.outputs\n",
        "from mm2pl.mmcv import runner\ndef f(runner):\n    runner.outputs\n",
        id="shadowed",
    ),
    pytest.param(
        "from mmcv.cnn.utils.weight_init import normal_init",
        "from mm2pl.model import normal_init",
        id="initializers",
    ),
    pytest.param(
        "from mmcv.runner import *", "from mm2pl.mmcv.runner import *", id="everything"
    ),
    pytest.param("from mmcv.ops import nms", "from mmcv.ops import nms", id="operators-stay"),
    pytest.param(
        "from mmcv.cnn import UPSAMPLE_LAYERS, ConvModule",
        "from mm2pl.mmcv.cnn import UPSAMPLE_LAYERS\nfrom mmcv.cnn import ConvModule",
        id="registries-of-layers",
    ),
    pytest.param(
        "from mmcv.cnn.utils.weight_init import trunc_normal_",
        "from mm2pl.mmcv.cnn import trunc_normal_",
        id="initialiser-by-its-file",
    ),
    pytest.param(
        "from mmcv.runner.checkpoint import get_state_dict",
        "from mm2pl.mmcv.runner.checkpoint import get_state_dict",
        id="only-in-the-deep-module",
    ),
    pytest.param(
        "from mmcv.utils.parrots_wrapper import DataLoader, _get_dataloader",
        "from mm2pl.mmcv.utils import DataLoader, _get_dataloader",
        id="torch-by-another-name",
    ),
    pytest.param("f(mmcv=1)\n'mmcv.Config'", "f(mmcv=1)\n'mmcv.Config'", id="only-imports"),
    pytest.param("from .mmcv import x", "from .mmcv import x", id="relative"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new"), IMPORTS)
def test_imports(old, new):
    assert migrate_text(old)[0] == new


HEAD, NEW_HEAD = (
    "from mmcv.runner import Hook\n\n\nclass A(Hook):\n",
    "from mm2pl.hooks import Hook\n\n\nclass A(Hook):\n",
)
AFTER = "    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(
            "    def before_train_iter(self, runner):  # c\n        print(runner.data_batch)\n",
            "    def before_train_iter(self, runner, batch_idx, data_batch=None):  # c\n        print(data_batch)\n",
            id="gains-the-batch",
        ),
        pytest.param(
            "    def after_train_iter(self, runner):\n        runner.outputs['loss'].item()\n",
            f"{AFTER}\n        outputs['loss'].item()\n",
            id="outputs",
        ),
        pytest.param(
            "    def before_epoch(self, runner):\n        super().before_epoch(runner)\n",
            "    def _before_epoch(self, runner, mode='train'):\n        super()._before_epoch(runner, mode=mode)\n",
            id="renamed",
        ),
        pytest.param(
            "    def after_train_iter(self, runner):\n        if self.every_n_iters(runner, 2): pass\n"
            "        if self.every_n_inner_iters(runner, 2): pass\n",
            f"{AFTER}\n        if self.every_n_train_iters(runner, 2): pass\n"
            "        if self.every_n_inner_iters(batch_idx, 2): pass\n",
            id="intervals",
        ),
        pytest.param(
            "    def before_run(self, runner):\n        pass\n",
            "    def before_run(self, runner):\n        pass\n",
            id="unchanged-point",
        ),
        pytest.param(
            "    def save(self, model):\n        return model.outputs\n",
            "    def save(self, model):\n        return model.outputs\n",
            id="no-point",
        ),
    ],
)
def test_hooks(old, new):
    assert migrate_text(HEAD + old)[0] == NEW_HEAD + new


POINT = "def before_train_iter(self, runner"
HIDDEN = {
    "in a function": "from mmcv.runner import Hook\ndef make():\n    class A(Hook):\n        {}",
    "a subclass in a function": (
        "from mmcv.runner import Hook\nclass A(Hook): ...\ndef make():\n    class B(A):\n        {}"
    ),
    "in a class": "from mmcv.runner import Hook\nclass N:\n    class A(Hook):\n        {}",
    "in a method": "from mmcv.runner import Hook\nclass N:\n  def f(self):\n    class A(Hook):\n      {}",
    "in a try": "from mmcv.runner import Hook\ntry:\n    class A(Hook): ...\nfinally: ...\nclass B(A):\n    {}",
    "by another name": "from mmcv.runner import Hook as H\nclass A(H):\n    {}",
}


@pytest.mark.parametrize("case", HIDDEN)
def test_a_hook_is_rewritten_wherever_it_is_defined(case):
    new = migrate_text(HIDDEN[case].format(f"{POINT}): ...\n"))[0]
    assert f"{POINT}, batch_idx, data_batch=None): ..." in new


def test_subclasses_of_1x_hooks_keep_their_signatures():
    method = "    def after_train_iter(self, runner): ...\n"
    old = f"from mmcv.runner import OptimizerHook\nclass A(OptimizerHook):\n{method}"
    assert migrate_text(old)[0] == old.replace("mmcv", "mm2pl.mmcv")


@pytest.mark.parametrize(
    ("text", "line", "what", "reason"),
    [
        ("\nfrom mmcv.ops import gone", 2, "mmcv.ops.gone", "neither mm2pl nor MMCV 2.1.0"),
        ("import mmcv\n\nmmcv.gone('a')", 3, "mmcv.gone", "neither mm2pl nor MMCV 2.1.0"),
        ("from mmcv.cnn import *", 1, "from mmcv.cnn import *", "neither mm2pl nor MMCV 2.1.0"),
        ("import mmcv", 1, "import mmcv", "not used"),
        ("from mmengine.hub import get_all", 1, "mmengine.hub.get_all", "no such name"),
        (
            HEAD + "    def after_train_iter(self, runner):\n        runner.log_buffer\n",
            6,
            "runner.log_buffer",
            "message_hub",
        ),
        (
            HEAD + "    def after_train_iter(self, runner):\n        runner.outputs['log_vars']\n",
            6,
            "runner.outputs",
            "by their names",
        ),
        ("from mmcv import (", 1, "the file", "not valid Python"),
    ],
)
def test_what_is_left_is_listed(text, line, what, reason):
    found = migrate_text(text, "a.py")[1]
    assert (found[0].line, found[0].what) == (line, what)
    assert reason in found[0].reason
    assert str(found[0]).startswith(f"a.py:{line}: {what}: ")


@pytest.mark.parametrize(
    ("text", "whats"),
    [
        ("from mmcv.cnn import ConvModule, gone", ["mmcv.cnn.ConvModule"]),
        ("from mmcv.cnn.bricks.transformer import FFN", ["mmcv.cnn.bricks.transformer.FFN"]),
        ("from mmcv.ops.nms import batched_nms, roi_pool", ["mmcv.ops.nms.batched_nms"]),
        ("from mmcv.ops import *", ["from mmcv.ops import *"]),
        ("from mmcv.utils import ext_loader, gone", ["mmcv.utils.ext_loader"]),
        ("import mmcv\nmmcv.imread.x\nmmcv.gone", ["mmcv.imread.x"]),
        ("import mmcv.ops as o\no.nms(o.gone)\nf(o)", ["mmcv.ops.nms"]),
        ("import mmcv\nx = mmcv.ops\ny = mmcv.cnn", ["mmcv.ops"]),
        ("from mmcv import cnn, image", ["mmcv.image"]),
    ],
)
def test_what_mmcv_2_keeps_needs_nobody(tmp_path, text, whats):
    path = tmp_path / "a.py"
    path.write_text(text)
    report = migrate_code(path)
    assert [each.what for each in report.unchanged] == whats
    assert not set(whats) & {each.what for each in report.findings}
    assert f"0 of 1 files change, {len(report.findings)} places need you" in str(report)
    assert f"\n{len(whats)} names stay MMCV's, in {len(whats)} places" in str(report)


@pytest.fixture
def source(tmp_path):
    """Return a folder with the 1.x project, and a file of MMEngine's kind."""
    folder = tmp_path / "src"
    shutil.copytree(HERE / "project", folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "new_style.py").write_text(
        "# mine\nfrom mmengine.hooks import Hook\n\n\nclass Mine(Hook):\n    '''Doc.'''\n\n"
        "    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):\n"
        "        runner.logger.info('x')  # said\n"
    )
    (folder / "crlf.py").write_bytes(b"from mmcv import Config  # c\r\nx = 1\r\n")
    (folder / "latin.py").write_bytes(
        "# -*- coding: latin-1 -*-\nfrom mmcv import Config  # été\n".encode("latin-1")
    )
    return folder


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.glob("*.py")}


def test_imports_of_a_folder_resolve_and_a_second_run_changes_nothing(source):
    first = migrate_code(source, write=True)
    assert {file.path.name for file in first.changed} == {
        *("dataset.py", "hooks.py", "model.py", "train.py", "new_style.py", "crlf.py", "latin.py")
    }
    for path in source.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_bytes())):
            if isinstance(node, ast.ImportFrom) and "mm" in str(node.module):
                assert str(node.module).startswith("mm2pl")
                module = importlib.import_module(str(node.module))
                assert all(hasattr(module, alias.name) for alias in node.names)
    before = contents(source)
    again = migrate_code(source, write=True)
    assert again.changed == ()
    assert contents(source) == before


def test_line_ends_encodings_and_comments_survive(source):
    migrate_code(source, write=True)
    after = contents(source)
    assert after["crlf.py"] == b"from mm2pl.config import Config  # c\r\nx = 1\r\n"
    assert after["latin.py"].decode("latin-1").endswith("Config  # été\n")
    assert after["new_style.py"].startswith(b"# mine\nfrom mm2pl.hooks import Hook\n")
    assert after["new_style.py"].endswith(b"runner.logger.info('x')  # said\n")


@pytest.mark.parametrize("run", ["epochs", "val_first", "iterations_with_val"])
def test_a_rewritten_project_trains_as_before(source, tmp_path, monkeypatch, run):
    migrate_code(source, write=True)
    monkeypatch.syspath_prepend(source)
    names = ("model", "dataset", "hooks", "configs", "train")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    loaded = {name: importlib.import_module(name) for name in names}
    cfg = {**loaded["configs"].BASE, **loaded["configs"].RUNS[run]}
    got = loaded["train"].train(copy.deepcopy(cfg), str(tmp_path / "work"))
    for name in names:
        monkeypatch.delitem(sys.modules, name)
    assert got["losses"] == pytest.approx(GOLDEN[run]["losses"], rel=1e-4)
    assert got["points"] == GOLDEN[run]["points"]


def test_command_line(source, capsys):
    before = contents(source)
    assert main(["migrate", "--code", str(source)]) == 0
    said = capsys.readouterr().out
    assert "7 of 8 files change" in said
    assert "nothing is written" in said
    assert main(["migrate", "--code", str(source), "--diff"]) == 0
    assert "-from mmcv import Config  # c" in capsys.readouterr().out
    assert contents(source) == before
    assert main(["migrate", "--code", str(source), "--write"]) == 0
    assert "hooks.py: written" in capsys.readouterr().out
    assert contents(source) != before


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("gone.py", None, "'SRC' does not exist"),
        ("notes.txt", b"mmcv", "is not a Python source"),
    ],
)
def test_bad_sources(tmp_path, capsys, name, data, said):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    assert main(["migrate", "--code", str(path)]) == 2
    assert said.replace("SRC", str(path)) in capsys.readouterr().err


def test_files_that_cannot_be_read_are_listed_and_left(tmp_path):
    (tmp_path / "a.py").write_bytes(b"from mmcv import Config  # \xe9\n")
    (tmp_path / "b.py").write_text("from mmcv import Config\n")
    report = migrate_code(tmp_path, write=True)
    assert [file.path.name for file in report.changed] == ["b.py"]
    assert "cannot be read" in str(report)
    assert (tmp_path / "a.py").read_bytes() == b"from mmcv import Config  # \xe9\n"


def test_hidden_folders_and_packages_are_left(tmp_path):
    for folder in (".git", "env/lib/site-packages/mmdet"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.py").write_text("import mmengine\n")
    assert migrate_code(tmp_path).files == 0


def test_without_libcst(tmp_path, monkeypatch, capsys):
    (tmp_path / "a.py").write_text("import mmengine\n")
    monkeypatch.setitem(sys.modules, "libcst", None)
    assert main(["migrate", "--code", str(tmp_path)]) == 2
    assert "pip install 'mm2pl[migrate]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--code", "x", "-o", "y"], "goes with --diff or --write alone"),
        (["--code", "x", "--diff", "--write"], "not allowed with"),
        (["x.py", "--write"], "go with --code SRC"),
        (["x.py"], "give a config or folder and -o OUT"),
    ],
)
def test_options_that_do_not_go_together(arguments, said, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["migrate", *arguments])
    assert said in capsys.readouterr().err


def test_two_processes_write_what_one_does(tmp_path):
    for name, text in (
        ("a.py", "from mmcv import Config\n"),
        ("b.py", "x = 1\n"),
        ("c.py", "import mmcv\nx = (\n"),
    ):
        (tmp_path / "src" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "src" / name).write_text(text)
    one = migrate_code(tmp_path / "src")
    seen: list[tuple[int, int]] = []
    two = migrate_code(tmp_path / "src", jobs=2, progress=lambda *at: seen.append(at))
    assert two == one
    assert [file.path.name for file in two.changed] == ["a.py"]
    assert [finding.path.name for finding in two.findings] == ["c.py"]
    assert seen == [(1, 3), (2, 3), (3, 3)]
