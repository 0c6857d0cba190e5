from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from mm2pl.config import Config, ConfigDict, ConfigError
from mm2pl.config.errors import ConfigFormatError, ConfigParsingError, ConfigTypeError


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def write(**texts: str) -> Path:
        for name, text in texts.items():
            base, _, suffix = name.rpartition("_")
            (tmp_path / f"{base}.{suffix}").write_text(text, encoding="utf-8")
        return tmp_path

    return write


CHILDREN: dict[str, tuple[str, dict]] = {
    "merge": ("m = dict(x=dict(b=3))", {"m": {"x": {"a": 1, "b": 3}, "y": [1]}, "n": 5}),
    "delete": ("m = dict(x=dict(_delete_=True, c=1))", {"m": {"x": {"c": 1}, "y": [1]}, "n": 5}),
    "no delete": ("m = dict(x=dict(_delete_=False, c=1))", {"m": {"x": {"a": 1, "b": 2, "c": 1}, "y": [1]}, "n": 5}),
    "a delete with no base stays": (
        "k = dict(_delete_=True, c=1)",
        {"m": {"x": {"a": 1, "b": 2}, "y": [1]}, "n": 5, "k": {"_delete_": True, "c": 1}},
    ),
    "replace a dict": ("m = 1", {"m": 1, "n": 5}),
    "replace a list": ("m = dict(y=[2, 3])", {"m": {"x": {"a": 1, "b": 2}, "y": [2, 3]}, "n": 5}),
    "base in an expression": ("k = _base_.n + {{_base_.n}}", {"m": {"x": {"a": 1, "b": 2}, "y": [1]}, "n": 5, "k": 10}),
    "base changed in place": ("_base_.m.y.append(2)", {"m": {"x": {"a": 1, "b": 2}, "y": [1, 2]}, "n": 5}),
    "key removed from the base": ("del _base_['n']", {"m": {"x": {"a": 1, "b": 2}, "y": [1]}}),
    "private names": ("__x = 1; _y = 2", {"m": {"x": {"a": 1, "b": 2}, "y": [1]}, "n": 5, "_y": 2}),
    "functions and modules": (
        "import os\ndef f(): return n0\nn0 = 3\nk = f()",
        {"m": {"x": {"a": 1, "b": 2}, "y": [1]}, "n": 5, "n0": 3, "k": 3},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), CHILDREN.values(), ids=CHILDREN)
def test_children(write: Any, text: str, expected: dict) -> None:
    folder = write(
        base_py="m = dict(x=dict(a=1, b=2), y=[1])\nn = 5", a_py=f"_base_ = 'base.py'\n{text}"
    )
    cfg = Config.fromfile(folder / "a.py")
    assert cfg.to_dict() == expected
    assert [*cfg] == [*expected]
    assert type(cfg._cfg_dict) is ConfigDict


@pytest.mark.parametrize(
    "bases",
    ["'b.py'", "['b.py']", "('b.py',)", "f'{1 + 1}.py'.replace('2', 'b')", "'./x/../b.py'"],
)
def test_forms_of_base(write: Any, bases: str) -> None:
    folder = write(b_py="x = 1", a_py=f"_base_ = {bases}\ny = 2")
    assert Config.fromfile(folder / "a.py").to_dict() == {"x": 1, "y": 2}


def test_no_container_occurs_twice(write: Any) -> None:
    folder = write(
        b_py="p = [dict(a=1)]\nq = dict(p=p, r=p)", a_py="_base_ = 'b.py'\ns = {{_base_.p}}\nt = s"
    )
    cfg = Config.fromfile(folder / "a.py")
    cfg.p[0].a = 2
    assert (cfg.q, cfg.s, cfg.t) == ({"p": [{"a": 1}], "r": [{"a": 1}]}, [{"a": 1}], [{"a": 1}])


def test_yaml_and_json_chain(write: Any) -> None:
    folder = write(
        a_json='{"_base_": ["b.yaml"], "n": {{ _base_.m.x }}, "l": [{{_base_.m}}, "{{fileBasename}}"]}',
        b_yaml="_base_: c.py\nm: {x: [1, 2]}\nempty:",
        c_py="m = dict(y=(3,))",
    )
    cfg = Config.fromfile(folder / "a.json")
    m = {"y": (3,), "x": [1, 2]}
    assert cfg.to_dict() == {"m": m, "empty": None, "n": [1, 2], "l": [m, "a.json"]}


@pytest.mark.parametrize(
    "text", ["a: '{{ _base_.x }}'", "a: {b: 'c {{ _base_.x }}'}", "{{_base_.x}}: 1"]
)
def test_base_variables_inside_yaml_strings(write: Any, text: str) -> None:
    folder = write(b_py="x = 'y'", a_yaml=f"_base_: b.py\n{text}")
    with pytest.raises(
        ConfigParsingError, match=r"a.yaml.* is not replaced inside a string or a key"
    ):
        Config.fromfile(folder / "a.yaml")


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_data_must_be_a_dict(write: Any, suffix: str) -> None:
    with pytest.raises(ConfigError, match=rf"a{suffix}: A config must be a dict, not \[1, 2\]"):
        Config.fromfile(write(**{f"a_{suffix[1:]}": "[1, 2]"}) / f"a{suffix}")


def test_empty_yaml(write: Any) -> None:
    assert Config.fromfile(write(a_yaml="") / "a.yaml").to_dict() == {}


def test_unreadable_text(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_bytes(b"x = '\xff'")
    with pytest.raises(ConfigFormatError, match=r"a\.py: The config cannot be read: 'utf-8'"):
        Config.fromfile(tmp_path / "a.py")


def test_cycle_through_links_ends(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "a.py").write_text("_base_ = 'loop/a.py'")
    with pytest.raises(ConfigParsingError, match=r"inherits from itself"):
        Config.fromfile(tmp_path / "a.py")


def test_nested_too_deeply(write: Any) -> None:
    text = "x = []\nfor _ in range(5000): x = [x]"
    with pytest.raises(ConfigParsingError, match=r"a\.py: It is nested too deeply|RecursionError"):
        Config.fromfile(write(a_py=text) / "a.py")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    configs = tmp_path / "mm2pl_test_pkg" / ".mim" / "configs"
    (configs / "_base_").mkdir(parents=True)
    (tmp_path / "mm2pl_test_pkg" / "__init__.py").write_text("raise RuntimeError('imported')")
    (configs / "_base_" / "rt.py").write_text("lr = 0.1")
    (configs / "net.py").write_text(
        "_base_ = '_base_/rt.py'\n"
        "model = dict(type='A', inner=dict(type='B'))\n"
        "steps = [dict(type='C'), dict(x=dict(type='D'), y=1)]\n"
        "own = dict(type='E', _scope_='other')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_bases_in_packages_get_a_scope(package: Path) -> None:
    file = package / "a.py"
    file.write_text("_base_ = 'mm2pl_test_pkg::net.py'\nmodel = dict(inner=dict(z=1))")
    assert Config.fromfile(file).to_dict() == {
        "lr": 0.1,
        "model": {"type": "A", "inner": {"type": "B", "z": 1}, "_scope_": "mm2pl_test_pkg"},
        "steps": [
            {"type": "C", "_scope_": "mm2pl_test_pkg"},
            {"x": {"type": "D", "_scope_": "mm2pl_test_pkg"}, "y": 1},
        ],
        "own": {"type": "E", "_scope_": "other"},
    }


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("mm2pl_test_pkg::nett.py", r"a.py:1: .*nett.py does not exist. Did you mean 'net.py'"),
        ("mm2pl_test_pkg::", "is not a path into a package. Write package::folder/config.py"),
        ("a::b::c", "is not a path into a package"),
        ("json.decoder::x.py", "is not a path into a package"),
        ("math::x.py", "The package 'math' is not installed, or is not a package"),
    ],
)
def test_bad_package_paths(package: Path, base: str, message: str) -> None:
    (package / "a.py").write_text(f"_base_ = {base!r}")
    with pytest.raises(ConfigError, match=message):
        Config.fromfile(package / "a.py")


def test_compiled_code_is_per_text(write: Any) -> None:
    file = write(a_py="x = 1") / "a.py"
    assert Config.fromfile(file).x == 1
    file.write_text("x = 2")
    assert Config.fromfile(file).x == 2


def test_no_file_is_written_and_nothing_warns(write: Any) -> None:
    folder = write(b_py="x = 1", a_py="_base_ = 'b.py'")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Config.fromfile(folder / "a.py")
    assert {path.name for path in folder.iterdir()} == {"a.py", "b.py"}


@pytest.mark.parametrize(
    "text",
    ["if True:\n    _base_ = 'b.py'\n", "_base_: str = 'b.py'\n", "a = _base_ = 'b.py'\n"],
    ids=["indented", "annotated", "chained"],
)
def test_a_base_that_would_be_passed_over_is_an_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("b = 2\n")
    (tmp_path / "c.py").write_text(f"x = 1\n{text}")
    with pytest.raises(ConfigError, match=r"c\.py:\d: This `_base_` is not read\. Write"):
        Config.fromfile(tmp_path / "c.py")


def test_dicts_put_into_a_base_are_config_dicts(tmp_path: Path) -> None:
    (tmp_path / "b.py").write_text("pipe = [dict(type='A')]\n")
    (tmp_path / "c.py").write_text("_base_ = 'b.py'\n_base_.pipe.append(dict(type='C'))\n")
    assert Config.fromfile(tmp_path / "c.py").pipe[1].type == "C"


def test_a_base_that_is_no_value_is_an_error_at_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n_base_ = {[]: 1}\n")
    with pytest.raises(ConfigTypeError, match=r"a\.py:2: TypeError: .*unhashable type"):
        Config.fromfile(str(tmp_path / "a.py"))
