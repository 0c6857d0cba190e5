"""The same files, read by MMEngine and by mm2pl, give the same values, types and order."""

from __future__ import annotations

import copy
import random
import warnings
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mm2pl.config import Config, ConfigDict, ConfigError, DictAction
from mm2pl.config.config_dict import to_builtin
from tests.parity.config_corpus import differences

pytestmark = pytest.mark.parity
mmengine_config = pytest.importorskip("mmengine.config")

CONFIGS = Path(__file__).parent.parent / "configs"
SAMPLES = sorted(
    str(path.relative_to(CONFIGS))
    for path in (CONFIGS / "sample").rglob("*.*")
    if path.suffix in (".py", ".yaml", ".json") and path.name != "standard.py"
)


@pytest.fixture(autouse=True)
def _quiet() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated.py is read on purpose
        yield


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("classes", [None, "7"])
def test_sample_configs(name: str, classes: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if classes is not None:
        monkeypatch.setenv("MM2PL_TEST_CLASSES", classes)
    theirs = mmengine_config.Config.fromfile(CONFIGS / name)
    ours = Config.fromfile(CONFIGS / name)
    assert list(differences(theirs._cfg_dict, ours._cfg_dict)) == []
    assert list(differences(theirs.to_dict(), ours.to_dict())) == []
    assert list(differences(theirs._to_lazy_dict(), ours._to_lazy_dict())) == []
    for attribute in ("filename", "text", "env_variables", "_imported_names"):
        assert getattr(theirs, attribute) == getattr(ours, attribute)


REFUSED = sorted(
    path.name
    for path in CONFIGS.glob("bad_*")
    # These recurse for ever, or give garbage, or are found only when a value is built.
    if path.name not in ("bad_cycle.py", "bad_cycle_half.py", "bad_quoted_variable.py")
)


# Where MMEngine lets an exception of Python, PyYAML or an assertion through.
OTHER_KINDS: dict[str, type[Exception]] = {
    "bad_division.py": RuntimeError,
    "bad_nested.py": RuntimeError,
    "bad_package.py": ModuleNotFoundError,
    "bad_yaml.yaml": SyntaxError,
    "bad_json.json": SyntaxError,
    "bad_type.py": TypeError,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mmengine_refuses_is_refused(name: str) -> None:
    try:
        pytest.fail(f"MMEngine reads {name}: {mmengine_config.Config.fromfile(CONFIGS / name)}")
    except Exception as error:
        builtin = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
        kind = OTHER_KINDS.get(name, builtin)
    with pytest.raises(ConfigError, match="configs/") as caught:
        Config.fromfile(CONFIGS / name)
    assert isinstance(caught.value, kind)


OPTIONS: list[dict] = [
    {"model.backbone.depth": 18},
    {"model.new.key": [1, 2]},
    {"train_pipeline.0.type": "Other", "train_pipeline.2": {"prob": 0.1}},
    {"train_pipeline": {"1": {"type": "X"}}},
    {"model": {"_delete_": True, "type": "Y", "z": {"w": 1}}},
    {"model.head": {"topk": None}, "model.head.loss.type": "L1"},
    {"unknown": {"_delete_": True, "a": 1}},
    {},
]


@pytest.mark.parametrize("options", OPTIONS, ids=range(len(OPTIONS)))
@pytest.mark.parametrize("name", ["sample/child.py", "sample/pure/child.py"])
def test_merge_from_dict(name: str, options: dict) -> None:
    if "pure" in name:
        options = {k.replace("train_pipeline", "pipeline"): v for k, v in options.items()}
    theirs, ours = mmengine_config.Config.fromfile(CONFIGS / name), Config.fromfile(CONFIGS / name)
    theirs.merge_from_dict(copy.deepcopy(options))
    ours.merge_from_dict(copy.deepcopy(options))
    assert list(differences(theirs._cfg_dict, ours._cfg_dict)) == []


def dict_action(kind: type, text: str) -> Any:
    namespace = Namespace()
    action = kind(option_strings=["--o"], dest="o")
    action(ArgumentParser(), namespace, [f"key={text}"], "--o")
    return namespace.o["key"]


words = st.sampled_from(["1", "-2", "0.5", "1e3", "True", "none", "None", "abc", "a b", "", "x:y"])
texts = st.recursive(
    words,
    lambda inner: st.tuples(st.lists(inner, max_size=3), st.sampled_from(["()", "[]"])).map(
        lambda pair: pair[1][0] + ",".join(pair[0]) + pair[1][1]
    ),
    max_leaves=6,
) | st.lists(words, min_size=2, max_size=4).map(",".join)


@settings(max_examples=400, deadline=None)
@given(texts)
def test_dict_action(text: str) -> None:
    theirs, ours = dict_action(mmengine_config.DictAction, text), dict_action(DictAction, text)
    assert repr(ours) == repr(theirs)


values = st.recursive(
    st.integers(0, 3) | st.sampled_from(["x", None, True]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.lists(inner, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from(["a", "b", "c", "_delete_"]), inner, max_size=3)
    ),
    max_leaves=8,
)
dicts = st.dictionaries(st.sampled_from(["a", "b", "c", "_delete_"]), values, max_size=3)
METHODS = ["update", "merge", "setdefault", "pop", "get", "setitem", "setattr", "or", "copy"]


def apply(cfg: Any, method: str, value: dict) -> Any:
    """Run one method; an error is part of the result."""
    try:
        if method in ("pop", "get"):
            return getattr(cfg, method)("a", value.get("b"))
        if method == "setdefault":  # returns what is stored; MMEngine's what was given
            cfg.setdefault("a", value.get("b"))
        elif method == "setitem":
            cfg["a"] = value
        elif method == "setattr":
            cfg.b = [value]
        elif method == "or":
            return to_builtin(cfg | value, lazy_as_text=False)  # addict's Dict in MMEngine
        elif method == "copy":
            return cfg.copy()
        else:
            getattr(cfg, method)(value)
    except (TypeError, KeyError, AttributeError) as error:
        return type(error).__mro__[-3]
    return None


@settings(max_examples=300, deadline=None)
@given(dicts, st.lists(st.tuples(st.sampled_from(METHODS), dicts), max_size=4))
def test_config_dict(start: dict, steps: list) -> None:
    theirs = mmengine_config.ConfigDict(copy.deepcopy(start))
    ours = ConfigDict(copy.deepcopy(start))
    for method, value in steps:
        first = apply(theirs, method, copy.deepcopy(value))
        second = apply(ours, method, copy.deepcopy(value))
        assert list(differences(first, second)) == []
        assert list(differences(theirs, ours)) == []
    assert list(differences(theirs.to_dict(), ours.to_dict())) == []


def random_config(rng: random.Random, names: list[str]) -> str:
    """Write a config of random nested dicts that uses its base."""

    def value(depth: int) -> str:
        kind = rng.choice("ndltsb" if depth else "nsb")
        if kind == "d":
            delete = ["_delete_=True"] if rng.random() < 0.2 else []
            items = [f"{name}={value(depth - 1)}" for name in rng.sample("abcd", rng.randint(0, 3))]
            return f"dict({', '.join(delete + items)})"
        if kind in "lt":
            inner = "".join(f"{value(depth - 1)}, " for _ in range(rng.randint(0, 3)))
            return f"[{inner}]" if kind == "l" else f"({inner})"
        if kind == "b" and names:
            name = rng.choice(names)
            return rng.choice([f"_base_.{name}", f"{{{{ _base_.{name} }}}}", f"_base_['{name}']"])
        return rng.choice(
            ["1", "0.5", "'s'", "None", "'{{ fileBasename }}'", "-1", "{{'$NONE:3'}}"]
        )

    return "".join(f"{name} = {value(3)}\n" for name in rng.sample("pqrstu", rng.randint(1, 4)))


@pytest.mark.parametrize("seed", range(150))
def test_random_chains(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    names: list[str] = []
    for level in range(3):
        text = random_config(rng, names)
        names = sorted({*names, *(line.split(" = ")[0] for line in text.splitlines())})
        head = f"_base_ = 'c{level - 1}.py'\n" if level else ""
        (tmp_path / f"c{level}.py").write_text(head + text)
    results = []
    for kind in (mmengine_config.Config, Config):
        try:
            results.append(kind.fromfile(tmp_path / "c2.py")._cfg_dict)
        except TypeError:
            results.append(TypeError)  # a dict over something else
    assert list(differences(*results)) == []
