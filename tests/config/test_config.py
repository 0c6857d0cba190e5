from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mm2pl.config import Config, ConfigDict, ConfigError, ConfigKeyError
from mm2pl.config.errors import ConfigFormatError, ConfigImportError, ConfigTypeError

SAMPLE = Path(__file__).parent.parent / "configs" / "sample"


@pytest.fixture
def cfg() -> Config:
    return Config({"model": {"depth": 50, "stages": [{"c": 1}, {"c": 2}]}, "lr": 0.1})


def test_fromfile_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MM2PL_TEST_CLASSES", raising=False)
    cfg = Config.fromfile(SAMPLE / "grandchild.py")
    assert cfg.work_dir == "./work_dirs/child"
    assert cfg.here == f"{SAMPLE}/child.py.py"
    assert cfg.num_classes == 80
    assert cfg.cache == "/tmp/cache/x"
    assert cfg.data_root == "data/toy/"
    assert cfg.train_cfg == {"by_epoch": True, "max_epochs": 3}
    assert cfg.optim_wrapper.optimizer == {
        "type": "SGD",
        "lr": 0.1 * 8 / 256 * 2,
        "momentum": 0.9,
        "betas": (0.9, 0.999),
        "weight_decay": 1e-4,
    }
    assert cfg.model.data_preprocessor == {"type": "Plain"}
    assert cfg.model.backbone.norm_cfg == {"type": "BN", "requires_grad": True, "momentum": 0.1}
    assert cfg.model.backbone.depth == 12
    assert cfg.model.head == {"type": "Other", "widths": [1, 2]}
    assert [step["type"] for step in cfg.train_dataloader.dataset.pipeline] == [
        "LoadImageFromFile",
        "Blur",
        "Resize",
        "Flip",
    ]
    assert cfg.val_dataloader.dataset.root == "data/toy/val"
    assert "ann_file" not in cfg.val_dataloader.dataset
    assert cfg.metainfo[1.5] is None
    assert cfg.custom_hooks[1] == {"type": "EMAHook", "momentum": 0.2, "start": 80}
    assert cfg.scales == (0.5, 1.0)
    assert cfg.scaled == [160, 3]
    assert "scale" not in cfg
    assert "copy" not in cfg


def test_text_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM2PL_TEST_CLASSES", "7")
    cfg = Config.fromfile(str(SAMPLE / "grandchild.yaml"))
    assert cfg.num_classes == 7
    assert cfg.env_variables == {"MM2PL_TEST_CLASSES": "7"}
    files = [line for line in cfg.text.splitlines() if line.startswith(str(SAMPLE))]
    assert [Path(line).name for line in files] == [
        *("model.py", "data.py", "runtime.yaml", "schedule.json"),
        *("child.py", "grandchild.py", "grandchild.yaml"),
    ]
    assert cfg.filename == str(SAMPLE / "grandchild.yaml")


def test_flags_switch_the_macros_off() -> None:
    path = SAMPLE / "child.py"
    plain = Config.fromfile(path, use_predefined_variables=False)
    assert plain.work_dir == "./work_dirs/{{ fileBasenameNoExtension }}"
    with pytest.raises(ConfigTypeError, match=r"child.py:\d+: TypeError: unhashable type: 'set'"):
        Config.fromfile(path, use_environment_variables=False)


@pytest.mark.parametrize(
    ("text", "suffix"),
    [
        ("a = dict(b=[1, (2,)])", ".py"),
        ("a:\n  b: [1, !!python/tuple [2]]", ".yaml"),
        ("a:\n  b: [1, !!python/tuple [2]]", ".yml"),
    ],
)
def test_fromstring(text: str, suffix: str) -> None:
    cfg = Config.fromstring(text, suffix)
    assert cfg.a == {"b": [1, (2,)]}
    assert Config.fromstring(cfg.dump(), suffix) == cfg


def test_fromstring_pure_python() -> None:
    cfg = Config.fromstring("from torch.nn import ReLU\nact = dict(type=ReLU)", ".py")
    assert cfg.to_dict() == {"act": {"type": "torch.nn.ReLU"}}


def test_fromstring_refuses() -> None:
    with pytest.raises(ConfigFormatError, match=r"'.txt' must be one of .py, .json, .yaml, .yml"):
        Config.fromstring("a = 1", ".txt")
    with pytest.warns(UserWarning, match="looks like Python"):
        Config.fromstring('{"a": "dict(1)"}', ".json")


def test_deprecated_config_warns() -> None:
    message = r"deprecated.py will be deprecated .* Please use child.py instead. See the changelog."
    with pytest.warns(DeprecationWarning, match=message):
        cfg = Config.fromfile(SAMPLE / "deprecated.py")
    assert "_deprecation_" not in cfg


@pytest.mark.parametrize("suffix", [".py", ".yaml", ".json"])
def test_dump_loads_equal(tmp_path: Path, cfg: Config, suffix: str) -> None:
    file = tmp_path / f"dumped{suffix}"
    assert cfg.dump(file) is None
    again = Config.fromfile(file)
    assert again == cfg
    assert again.dump() == file.read_text(encoding="utf-8")


MERGES: dict[str, tuple[dict, Any]] = {
    "nested": ({"model.depth": 18}, {"depth": 18, "stages": [{"c": 1}, {"c": 2}]}),
    "new key": (
        {"model.neck.c": 1},
        {"depth": 50, "stages": [{"c": 1}, {"c": 2}], "neck": {"c": 1}},
    ),
    "list index": ({"model.stages.1.c": 5}, {"depth": 50, "stages": [{"c": 1}, {"c": 5}]}),
    "list item": ({"model.stages.0": 7}, {"depth": 50, "stages": [7, {"c": 2}]}),
    "list": ({"model.stages": [3]}, {"depth": 50, "stages": [3]}),
    "delete": ({"model": {"_delete_": True, "a": 1}}, {"a": 1}),
    "dict": ({"model": {"depth": None}}, {"depth": None, "stages": [{"c": 1}, {"c": 2}]}),
}


@pytest.mark.parametrize(("options", "model"), MERGES.values(), ids=MERGES)
def test_merge_from_dict(cfg: Config, options: dict, model: dict) -> None:
    before = copy.deepcopy(options)
    cfg.merge_from_dict(options)
    assert cfg.model == model
    assert options == before


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model.stages.2.c": 1}, KeyError, "Index 2 exceeds model.stages, a list of 2 elements"),
        ({"model.stages.x.c": 1}, KeyError, "'x' must be an index"),
        ({"lr.x": 1}, TypeError, "lr is a dict in the child config .* 0.1 of type float"),
    ],
)
def test_merge_from_dict_refuses(cfg: Config, options: dict, kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        cfg.merge_from_dict(options)


def test_lists_can_be_closed_to_index_keys(cfg: Config) -> None:
    with pytest.raises(ConfigTypeError, match=r"model.stages is a dict in the child config"):
        cfg.merge_from_dict({"model.stages.1.c": 5}, allow_list_keys=False)


def test_attributes_and_items(cfg: Config) -> None:
    cfg.new = {"a": 1}
    cfg["other"] = {"b": [{"c": 1}]}
    assert (cfg.new.a, cfg.other.b[0].c) == (1, 1)
    assert [*cfg] == ["model", "lr", "new", "other"]
    assert len(cfg) == 4
    assert "new" in cfg
    assert cfg.get("missing", 5) == 5
    assert dict(**cfg)["lr"] == 0.1
    with pytest.raises(AttributeError, match=r"has no attribute 'modle'. Did you mean 'model'"):
        _ = cfg.modle
    assert not hasattr(cfg, "missing")


@pytest.mark.parametrize(
    "duplicate", [copy.copy, copy.deepcopy, lambda c: pickle.loads(pickle.dumps(c))]
)
def test_copies(duplicate: Any) -> None:
    cfg = Config.fromfile(SAMPLE / "pure" / "child.py")
    other = duplicate(cfg)
    assert other == cfg
    assert other._imported_names == cfg._imported_names
    assert (other.filename, other.text) == (cfg.filename, cfg.text)
    other.new = 1
    assert "new" not in cfg


def test_equality_is_by_value(cfg: Config) -> None:
    assert cfg == Config(cfg.to_dict(), filename=__file__)
    assert cfg != Config({"lr": 0.1})
    assert cfg != 5
    assert hash(cfg) != hash(copy.copy(cfg))


@pytest.mark.parametrize("key", ["filename", "text", "pretty_text", "env_variables"])
def test_reserved_keys(key: str) -> None:
    with pytest.raises(ConfigKeyError, match=f"^{key} is reserved for config file"):
        Config({key: 1})


def test_init_wants_a_dict() -> None:
    with pytest.raises(ConfigTypeError, match="cfg_dict must be a dict, but got <class 'list'>"):
        Config([1])  # type: ignore[arg-type]


def test_repr_and_diff(cfg: Config) -> None:
    assert repr(Config({"a": 1})) == "Config (path: None): {'a': 1}"
    other = copy.deepcopy(cfg)
    other.lr = 0.2
    assert [line for line in Config.diff(cfg, other).splitlines() if "lr" in line] == [
        "-lr = 0.1",
        "+lr = 0.2",
    ]
    # As MMEngine prints it.
    head = "--- \n\n+++ \n\n@@ -1,2 +1,2 @@\n\n"
    assert Config.diff(Config({"a": 1}), Config({"a": 2})) == f"{head}-a = 1\n+a = 2\n \n\n"
    assert Config.diff(cfg, cfg) == "\n"


def test_custom_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mm2pl_test_custom.py").write_text("loaded = True")
    file = tmp_path / "a.py"
    file.write_text("custom_imports = dict(imports=['mm2pl_test_custom'])")
    with pytest.raises(
        ConfigImportError,
        match=r"a.py: Failed to import custom modules from .*mm2pl_test_custom.* Set PYTHONPATH",
    ):
        Config.fromfile(file)
    with monkeypatch.context() as inside:
        inside.chdir(tmp_path)
        inside.setattr(sys, "path", [each for each in sys.path if each])  # as for a script in tools
        with pytest.raises(
            ConfigImportError, match=r"the current one → put PYTHONPATH=\. before the command$"
        ):
            Config.fromfile(file)
    assert Config.fromfile(file, import_custom_modules=False).custom_imports
    monkeypatch.syspath_prepend(tmp_path)
    Config.fromfile(file)
    assert sys.modules.pop("mm2pl_test_custom").loaded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import math\nimport mm2pl_no_such",
            "No module named 'mm2pl_no_such'. The module was found",
        ),
        ("from math import sqr", "cannot import name 'sqr'"),
    ],
    ids=["module", "name"],
)
def test_an_import_that_fails_inside_a_custom_module(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mm2pl_test_broken.py").write_text(text)
    (tmp_path / "a.py").write_text("custom_imports = dict(imports=['mm2pl_test_broken'])")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(
        ConfigImportError, match=r"an import in it fails, at .*mm2pl_test_broken.py"
    ) as told:
        Config.fromfile(tmp_path / "a.py")
    assert said in str(told.value)
    assert str(told.value).endswith(text.splitlines()[-1])
    assert "PYTHONPATH" not in str(told.value)


def test_a_custom_module_without_mmcv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mm2pl_test_mmcv.py").write_text("from mmcv.transforms import BaseTransform")
    (tmp_path / "a.py").write_text("custom_imports = dict(imports=['mm2pl_test_mmcv'])")
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("mmcv", "mmcv.transforms"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigImportError, match=r"→ pip install --no-deps mmcv-lite==2\.1\.0, and"):
        Config.fromfile(tmp_path / "a.py")


def test_custom_imports_of_pure_python_only_warn(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("import torch.nn as nn\ncustom_imports = dict(imports=['mm2pl_is_missing'])")
    with pytest.warns(
        UserWarning, match=r"a.py: custom_imports: Failed to import mm2pl_is_missing"
    ):
        Config.fromfile(file)


def test_auto_argparser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.py"
    file.write_text("lr = 0.1\nmodel = dict(depth=50, names=['a'])\namp = False\nnothing = None")
    monkeypatch.setattr(sys, "argv", ["train", str(file)])
    parser, cfg = Config.auto_argparser("about")
    args = parser.parse_args([str(file), "--lr", "0.5", "--model.names", "x", "y", "--amp"])
    assert cfg.model.depth == 50
    assert (args.lr, args.amp, getattr(args, "model.names")) == (0.5, True, ["x", "y"])


def test_import_is_light() -> None:
    code = "import sys, mm2pl.config; print([m for m in ('torch', 'yaml', 'numpy', 'lightning') if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_every_error_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing.py does not exist"):
        Config.fromfile(tmp_path / "nothing.py")
    with pytest.raises(FileNotFoundError, match=r"nothing.py does not exist"):
        Config.fromfile(tmp_path / "nothing.py")
    (tmp_path / "a.txt").touch()
    with pytest.raises(OSError, match=r"a.txt is not a config: .py, .json, .yaml, .yml are read"):
        Config.fromfile(tmp_path / "a.txt")


def test_config_dict_is_kept() -> None:
    values = ConfigDict(a=1)
    assert Config(values)._cfg_dict is values
