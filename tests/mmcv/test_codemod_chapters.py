"""Models, registries and training scripts of 1.x: said at the line of the use; and how little libcst reads."""

from __future__ import annotations

import pytest

pytest.importorskip("libcst")

from mm2pl.mmcv.codemod import migrate_code, migrate_text
from mm2pl.mmcv.codemod.masking import Masked
from mm2pl.registry import Registry
from tests.calls import calls

MODEL = """\
from torch import nn


class Net(nn.Module):
    def forward(self, img, return_loss=True, **kwargs):
        return self.forward_train(img) if return_loss else self.simple_test(img)

    def forward_train(self, img, **kwargs):
        return dict(loss=img.sum())

    def simple_test(self, img, **kwargs):
        return [0]

    def train_step(self, data, optimizer, **kwargs):
        return dict(loss=self(**data))
"""

HEAD = """\
from torch import nn


class Head(nn.Module):
    def forward_train(self, x, img_metas):
        return self.loss(x)
"""

OF_TOOLBOX = """\
from mmdet.models import SingleStageDetector as Base


class Net(Base):
    def simple_test(self, img, img_metas):
        return []

    def train_step(self, data, optimizer):
        return super().train_step(data, optimizer)
"""

SCRIPT = """\
from mmcv.runner import EpochBasedRunner, build_runner


def train(model, cfg, loaders):
    runner = EpochBasedRunner(model, max_epochs=2)
    runner.register_training_hooks(cfg.lr_config)
    runner.run(loaders, cfg.workflow)
"""

HOOK = """\
from mmcv.runner import HOOKS, Hook


@HOOKS.register_module()
class Mine(Hook):
    def after_train_iter(self, runner):
        if self.every_n_iters(runner, 2):
            runner.log_buffer.update({"x": 1})
        print(runner.meta)
"""


RUNNER = """\
from mmcv.runner import {base}


class Mine({base}):
    def train(self, data_loader, **kwargs):
        pass

    def save_checkpoint(self, out_dir):
        pass

    def helper(self):
        pass
"""

BUILDER = """\
def build_dataset(cfg, default_args=None):
    if cfg["type"] == "Pair":
        return Pair([build_dataset(each) for each in cfg["parts"]])
    elif cfg.get("type") == "RepeatDataset" or cfg.get("mode") == "Pair":
        return None
    return list(range(cfg["n"]))
"""


def found(text: str) -> list[tuple[int, str]]:
    return [(f.line, f.what) for f in migrate_text(text)[1]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (MODEL, []),
        (HEAD, []),
        (MODEL.partition("    def train_step")[0], [(5, "Net.forward(return_loss=…)")]),
        (
            MODEL.replace("from torch import nn", "from mmdet.models import nn"),
            [
                (5, "Net.forward(return_loss=…)"),
                (14, "Net.train_step"),
            ],
        ),
        (
            OF_TOOLBOX,
            [(5, "Net.simple_test"), (8, "Net.train_step")],
        ),
        (SCRIPT, [(5, "EpochBasedRunner(…)"), (6, "register_training_hooks(…)")]),
        (HOOK, [(8, "runner.log_buffer"), (9, "runner.meta")]),
        ("from mmcv.utils import Registry\nR = Registry('models')\n", [(2, "Registry('models')")]),
        ("import mmcv\nR = mmcv.Registry('models')\n", [(2, "Registry('models')")]),
        ("from mmcv import Registry\nR = Registry(name='models')\n", [(2, "Registry('models')")]),
        ("from mmcv import Registry\nR = Registry('m', parent=P)\n", []),
        (
            RUNNER.format(base="EpochBasedRunner"),
            [(5, "Mine.train"), (8, "Mine.save_checkpoint")],
        ),
        (RUNNER.format(base="Hook"), []),
        (BUILDER, [(2, "type='Pair'")]),
        (BUILDER.replace("def build_dataset", "def build"), []),
        ("from elsewhere import Registry\nR = Registry('models')\n", []),
        ("class Net:\n    def train_step(self, data, optim_wrapper): pass\n", []),
        ("def build_runner(cfg): pass\nbuild_runner(1)\n", []),
        ("class Net:\n    def forward(self, x, return_loss): (\n", []),  # no Python
    ],
    ids=[
        *(
            "model",
            "head",
            "no-step",
            "of-another-nn",
            "of-a-toolbox",
            "script",
            "hook",
            "registry",
            "registry-by-module",
            "registry-by-keyword",
            "registry-with-parent",
            "runner",
            "no-runner",
            "builder",
            "no-builder",
        ),
        *("another-registry", "of-today", "own-function", "broken"),
    ],
)
def test_findings_at_the_line_of_the_use(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    ("name", "parent"),
    [
        ("models", "MODELS"),
        ("my hooks", "HOOKS"),
        ("datasets", "DATASETS"),
        ("pipelines", "TRANSFORMS"),
    ],
)
def test_a_registry_gets_the_parent_of_its_kind(tmp_path, name, parent):
    (tmp_path / "mine").mkdir()
    text = f"from mmcv import Registry\nR = Registry({name!r})\nS = Registry({name + '2'!r})\n"
    new, (finding, second) = migrate_text(text, tmp_path / "mine/parts.py")
    assert f"import {parent} as ROOT_{parent}\n" in new
    assert f"R = Registry({name!r}, parent=ROOT_{parent}, scope='mine')\nS = Reg" in new
    assert f"a child of mm2pl.registry.{parent} now" in finding.reason
    assert "stands alone" in second.reason
    assert migrate_text(new, tmp_path / "mine/parts.py")[0] == new


@pytest.mark.parametrize(
    ("call", "new"),
    [
        ("Registry('m', scope='own')", "Registry('m', scope='own')"),
        ("Registry('model', scope='own')", "Registry('model', scope='own', parent=ROOT_MODELS)"),
        ("Registry(('model'))", "Registry(('model'), parent=ROOT_MODELS, scope='mine')"),
        (
            "Registry(('model'  # :)\n  ),  # ;)\n)",
            "Registry(('model'  # :)\n  ), parent=ROOT_MODELS, scope='mine',  # ;)\n)",
        ),
        ("Registry('model', None, PARENT)", "Registry('model', None, PARENT)"),
        ("Registry(name='model')", "Registry(name='model', parent=ROOT_MODELS, scope='mine')"),
        (
            "Registry(name='model', locations=['a'])",
            "Registry(name='model', locations=['a'], parent=ROOT_MODELS, scope='mine')",
        ),
        ("Registry(locations=['a'])", "Registry(locations=['a'])"),
        ("Registry('model', **more)", "Registry('model', **more)"),
        ("Registry('Transformer')", "Registry('Transformer')"),
        ("Registry('optimizer builder')", "Registry('optimizer builder')"),
        (
            "Registry('BBoxDetectors')",
            "Registry('BBoxDetectors', parent=ROOT_MODELS, scope='mine')",
        ),
    ],
)
def test_what_a_registry_gets(tmp_path, call, new):
    (tmp_path / "mine").mkdir()
    text = f"from mm2pl.registry import Registry\nR = {call}\n"
    result, _ = migrate_text(text, tmp_path / "mine/parts.py")
    compile(result, "parts.py", "exec")
    assert result.endswith(f"R = {new}\n")


@pytest.mark.parametrize("write", [False, True])
def test_a_parent_has_one_child_of_a_package(tmp_path, write):
    (tmp_path / "mine/b").mkdir(parents=True)
    for name, title in (("__init__", "detectors"), ("a", "hook"), ("b/__init__", "models")):
        text = f"from mmcv import Registry\nR = Registry({title!r})\n"
        (tmp_path / f"mine/{name}.py").write_text(text)
    report = migrate_code(tmp_path, write=write)
    new = {c.path.relative_to(tmp_path).as_posix(): c.new for c in report.changed}
    assert {path: "parent=" in text for path, text in new.items()} == {
        "mine/__init__.py": True,
        "mine/a.py": True,
        "mine/b/__init__.py": False,
    }
    assert not write or not migrate_code(tmp_path).changed


@pytest.mark.parametrize(
    ("text", "new"),
    [
        (
            "import mmcv\n# 中\nR = mmcv.Registry(  # 中\n    'model',  # why\n)\n",
            "import mm2pl.registry\nfrom mm2pl.registry import MODELS as ROOT_MODELS\n# 中\n"
            "R = mm2pl.registry.Registry(  # 中\n    'model', parent=ROOT_MODELS,  # why\n)\n",
        ),
        (
            '"""Doc."""\nimport torch.nn as nn; from nowhere import a\r\nclass B(nn.Module, a): '
            "forward = 1; train_step = 2\n",
            None,
        ),
        (
            "from torch.nn import Module\r\nclass B(A, Module):\r\n    def val_step(self, d, optimizer): 1\r\n"
            "class C(B):\r\n    def train_step(self, d, optimizer): 1\r\n",
            "from torch.nn import Module\r\nfrom mm2pl.mmcv import MMCVPlainModel\r\nclass B(A, MMCVPlainModel):\r\n"
            "    def val_step(self, d, optimizer): 1\r\n"
            "class C(B):\r\n    def train_step(self, d, optimizer): 1\r\n",
        ),
        ("class B(nn.Module):\r  def val_step(self, d, optimizer): 1\r", None),
        (
            "from mmcv.runner import BaseModule\nclass B(BaseModule):\n    def val_step(self, d, optimizer): 1\n",
            "from mm2pl.model import BaseModule\nfrom mm2pl.mmcv import MMCVModel\nclass B(MMCVModel):\n"
            "    def val_step(self, d, optimizer): 1\n",
        ),
    ],
    ids=["comments", "nothing-old", "CRLF-and-subclass", "CR", "BaseModule"],
)
def test_the_base_is_put_in(text, new):
    assert migrate_text(text)[0] == (text if new is None else new)
    assert migrate_text(new or text)[0] == (new or text)


def test_what_replaces_a_training_script():
    reasons = {f.reason for f in migrate_text(SCRIPT)[1]}
    assert len(reasons) == 1
    assert "`Runner.from_cfg(Config.fromfile(path)).train()`" in reasons.pop()


OTHER = "def other(x):\n    # kept\n    return [x,\n            2]\n"
PIECES = {
    "functions": f"import mmcv\n\n\n{OTHER}\n\ndef reads(p):\n    return mmcv.imread(p), mmcv.Config\n",
    "a class with both": (
        "import mmcv\nclass A:\n    x = 1\n    @property\n    def far(self):\n        return 1\n\n"
        "    def near(self):\n        return mmcv.Config\n"
    ),
    "under another name": f"import mmcv as m\n{OTHER}def reads():\n    return m.Config\n",
    "a module by name": f"from mmcv import runner\n{OTHER}def reads():\n    return runner.EpochBasedRunner\n",
    "CRLF": f"import mmcv\n{OTHER}x = mmcv.Config\n".replace("\n", "\r\n"),
    "decorated": f"import mmcv\n@mmcv.jit(x=1)\n{OTHER}\n@staticmethod\n{OTHER}y = mmcv.Config\n",
    "one line": "import mmcv\nclass A: x = 1\nif 1: pass\ny = mmcv.Config\n",
    "a hook of a hook": (
        "from mine import TheirHook\nclass A(TheirHook):\n    def after_train_iter(self, runner):\n        pass\n"
        "class B(A):\n    def before_train_iter(self, runner):\n        pass\n"
    ),
    "wide characters": f"import mmcv\ns = 'äöü 你好'\n{OTHER}x = mmcv.Config  # ü\n",
    "a form feed": f"import mmcv\n\x0c\n{OTHER}x = mmcv.Config\n",
}


@pytest.mark.parametrize("name", PIECES)
def test_masking_changes_nothing(name):
    from mm2pl.mmcv.codemod.rewrite import rewrite

    text = PIECES[name]
    masked = Masked(text)
    assert masked.restored(masked.text) == text
    assert masked.text.count("\n") == text.count("\n")
    whole: list[tuple[int, str, str]] = []
    assert rewrite(text, lambda *note: whole.append(note)) == migrate_text(text)[0]
    notes = [(f.line, f.what, f.reason) for f in migrate_text(text)[1]]
    assert set(whole) <= set(notes)


def test_masking_leaves_little():
    masked = Masked(PIECES["functions"])
    assert "return [x," not in masked.text
    assert "mmcv.imread" in masked.text


def test_methods_that_stay_as_they_are_cost_little(monkeypatch):
    method = "    def method_{0}(self, a):\n" + "        a = [a, {0}] + list(range({0}))\n" * 8
    text = "class Net:\n" + "".join(method.format(i) for i in range(20))
    text = f"import mmcv\n\n\n{text}\n    def last(self):\n        return mmcv.Config\n"
    assert "mm2pl.config.Config" in migrate_text(text)[0]  # everything is imported
    masked = calls(migrate_text, text)
    monkeypatch.setattr(Masked, "_mask", lambda *_: None)
    assert masked < 0.5 * calls(migrate_text, text)


@pytest.mark.parametrize(
    ("second", "new"),
    [
        ("Registry('attention', parent=ATTENTION)", "LAYERS"),
        ("Registry('attention', None, MODELS)", "LAYERS"),
        ("Registry('other', parent=MODELS, scope='own')", None),
        ("Registry('hook', parent=HOOKS)", None),
    ],
)
def test_registries_of_layers_are_one(tmp_path, second, new):
    """MMCV 2.x keeps in MODELS, which has one child of a scope, what 1.x kept in a registry for each kind."""
    text = (
        "from mmcv.cnn import MODELS, ATTENTION\nfrom mmcv.runner import HOOKS\nfrom mmcv.utils import Registry\n"
        f"LAYERS = Registry('model', parent=MODELS)\nOTHER = {second}\n"
    )
    found, _ = migrate_text(text, tmp_path / "builder.py")
    assert "LAYERS = Registry('model', parent=MODELS)\n" in found
    assert found.endswith(f"OTHER = {new or second}\n")
    names: dict = {}
    exec(found, names)  # a second child of one scope is an error
    if new:
        assert names["OTHER"] is names["LAYERS"]


def test_a_registry_that_builds_in_its_own_way_stays(tmp_path):
    text = (
        "from mmcv.cnn import MODELS\nfrom mmcv.utils import Registry\n"
        "LAYERS = Registry('model', parent=MODELS)\nOTHER = Registry('other', parent=MODELS, build_func=build)\n"
    )
    assert migrate_text(text, tmp_path / "builder.py")[0].endswith(text.partition("LAYERS")[2])


@pytest.mark.parametrize(
    ("base", "told"),
    [
        ("EpochBasedRunner", "class MineLoop(EpochBasedTrainLoop)` with `run_epoch(self)`"),
        ("IterBasedRunner", "class MineLoop(IterBasedTrainLoop)` with `run(self)`"),
    ],
)
def test_which_loop_takes_the_place_of_an_overridden_train(base, told):
    _, findings = migrate_text(RUNNER.format(base=base))
    assert told in findings[0].reason


def test_the_line_that_lets_a_registry_build_what_build_dataset_decides():
    _, (finding,) = migrate_text(BUILDER)
    names = {"DATASETS": Registry("dataset"), "Pair": tuple}
    names["DATASETS"].register_module("Pair", module=dict)  # the class, which takes what is built
    exec(BUILDER + finding.reason.partition("already: ")[2], names)
    built = names["DATASETS"].build({"type": "Pair", "parts": [{"type": "A", "n": 2}]})
    assert built == ([0, 1],)


@pytest.mark.parametrize(
    ("root", "told"),
    [
        ("mmcv.runner import BaseModule", []),
        ("torch.nn import Module", []),
        (
            "mmseg.models import Segmentor",
            ["Uda.train_step", "Uda.forward_train"],
        ),  # of an installed toolbox
    ],
)
def test_a_class_runs_if_a_base_in_another_file_of_the_project_does(tmp_path, root, told):
    files = {
        "__init__.py": "",
        "models/__init__.py": "from .first import *\nfrom .parts import *\n",
        "models/first.py": "",
        "models/parts.py": (
            f"from {root} as Base\n"
            "class Net(Base):\n    def train_step(self, data, optimizer): pass\n"
        ),
        "uda.py": (
            "from mine.models import Net\n\n\nclass Uda(Net):\n"
            "    def train_step(self, data, optimizer): pass\n"
            "    def forward_train(self, img): pass\n"
        ),
    }
    for name, text in files.items():
        path = tmp_path / "mine" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    found = migrate_code(tmp_path / "mine").findings
    assert [finding.what for finding in found if finding.path.name == "uda.py"] == told
