from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from mm2pl.config import Config, ConfigDict, ConfigError, read_base
from mm2pl.config.lazy import LazyAttr, LazyObject

SAMPLE = Path(__file__).parent.parent / "configs" / "sample" / "pure"


@pytest.fixture
def cfg() -> Config:
    return Config.fromfile(SAMPLE / "grandchild.py")


def test_values_golden(cfg: Config) -> None:
    assert ConfigDict.lazy is False
    data = {"pipeline": [{"type": "Load"}, {"type": "Flip", "prob": 0.5}, {"type": "Pack"}]}
    assert cfg.to_dict() == {
        "pipeline": data["pipeline"],
        "train_dataloader": {
            "batch_size": 2,
            "sampler": {"type": "mmengine.dataset.DefaultSampler"},
            "dataset": data,
        },
        "val_dataloader": {
            "batch_size": 1,
            "sampler": {"type": "mmengine.dataset.DefaultSampler"},
            "collate_fn": {"type": "mmengine.dataset.default_collate"},
            "dataset": {"pipeline": [{"type": "Load"}, {"type": "Pack"}]},
        },
        "model": {
            "type": "mmengine.model.BaseModel",
            "backbone": {
                "layers": [{"type": "Identity"}],
                "norm": {"type": "torch.nn.BatchNorm2d", "eps": 1e-3},
            },
            "init_cfg": {"type": "Zero"},
            "extra": {"deep": [1, (2, 3)]},
        },
        "wrapper": {"optimizer": {"type": "torch.optim.SGD", "lr": 0.1}},
        "optim_wrapper": {"optimizer": {"type": "torch.optim.AdamW", "lr": 1e-3}},
        "default_hooks": {"logger": {"type": "mmengine.hooks.LoggerHook", "interval": 10}},
        "custom_hooks": [
            {"type": "mmengine.hooks.EMAHook"},
            {"type": "torch.utils.data.DataLoader"},
            {"type": "mmengine.hooks.EMAHook", "begin_epoch": 3},
        ],
    }


def test_lazy_values_are_built_when_read(cfg: Config) -> None:
    assert cfg.optim_wrapper.optimizer.type is torch.optim.AdamW
    assert cfg.model.backbone.norm["type"] is torch.nn.BatchNorm2d
    lazy = cfg._to_lazy_dict()
    assert type(lazy["custom_hooks"][0]["type"]) is LazyObject
    assert type(lazy["custom_hooks"][1]["type"]) is LazyAttr
    assert lazy["custom_hooks"][0]["type"].location == f"{SAMPLE}/child.py, line 9"
    assert "EMAHook" not in lazy
    assert "EMAHook" in cfg._to_lazy_dict(keep_imported=True)
    assert cfg.to_dict(keep_imported=True)["SGD"] == "torch.optim.SGD" if "SGD" in cfg else True


def test_dump_loads_equal(cfg: Config) -> None:
    assert Config.fromstring(cfg.dump(), ".py") == cfg


def test_standard_modules_are_real() -> None:
    cfg = Config.fromfile(SAMPLE / "standard.py")
    assert cfg.to_dict() == {
        "work_dir": "work/standard.py",
        "lr": 2.0,
        "a": {"x": [1]},
        "b": {"x": [1, 2]},
    }


@pytest.mark.parametrize("lazy_import", [None, True])
def test_standard_modules_in_a_lazy_config(tmp_path: Path, lazy_import: bool | None) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "import os, json as j\nimport torch.nn\nfrom math import pi\n"
        "x = os.path.join('a', 'b')\ny = torch.nn.ReLU\nz = j.dumps(pi)\n"
        "def f(): return 1\nw = f()"
    )
    cfg = Config.fromfile(file, lazy_import=lazy_import)
    assert cfg.to_dict() == {
        "x": "a/b",
        "y": "torch.nn.ReLU",
        "z": "3.141592653589793",
        "w": 1,
    }


def test_a_module_is_read_once_per_file(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("x = [1]\ny = dict(a=1)")
    (tmp_path / "a.py").write_text(
        "from mm2pl.config import read_base\n"
        "with read_base():\n    from .b import x\n    from .b import x as z, y\n"
        "x.append(2)"
    )
    assert Config.fromfile(tmp_path / "a.py").to_dict() == {"x": [1, 2], "z": [1, 2], "y": {"a": 1}}


def test_several_read_base_blocks(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("x = 1")
    (tmp_path / "c.py").write_text("y = 2")
    text = "from mmengine.config import read_base\nwith read_base():\n    from .b import *\n"
    (tmp_path / "a.py").write_text(text + "with read_base():\n    from .c import *\n")
    assert Config.fromfile(tmp_path / "a.py").to_dict() == {"x": 1, "y": 2}


def test_bases_in_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mm2pl_test_lazy" / "configs"
    folder.mkdir(parents=True)
    (tmp_path / "mm2pl_test_lazy" / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "net.py").write_text("from ..models import Net\nmodel = dict(type='Net')")
    text = "with read_base():\n    from mm2pl_test_lazy.configs.net import *"
    (tmp_path / "a.py").write_text(f"from mmengine.config import read_base\n{text}")
    monkeypatch.syspath_prepend(tmp_path)
    assert Config.fromfile(tmp_path / "a.py").to_dict() == {"model": {"type": "Net"}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("with read_base():\n    x = 1", "a.py:2: Only `from ... import ...` is allowed inside"),
        ("with read_base():\n    from . import x", "a.py:2: `from . import x` is not allowed"),
        ("with read_base():\n    from torch import *", "a.py:2: 'torch' is a package, not a config"),
        ("with read_base():\n    from mm2pl_no.b import *", "a.py:2: The package 'mm2pl_no' is not"),
        ("import torch\nwith open('x'): pass", "a.py:2: Only `read_base` can be used with `with`"),
        ("import torch\nx = 1 / 0", "a.py:2: ZeroDivisionError"),
        ("import torch\nx = torch()", "a.py:2: torch is imported lazily in .*a.py, line 1"),
        ("import torch\nreturn 5", "a.py:2: 'return' outside function"),
    ],
)  # fmt: skip
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(ConfigError, match=message):
        Config.fromfile(tmp_path / "a.py", lazy_import=True)
    assert ConfigDict.lazy is False


def test_cycle(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("with read_base():\n    from .a import *")
    with pytest.raises(ConfigError, match=r"a\.py:2: The config inherits from itself"):
        Config.fromfile(tmp_path / "a.py")


def test_read_base_is_harmless() -> None:
    ran: list[Any] = []
    with read_base():
        ran.append(1)
    assert ran == [1]
