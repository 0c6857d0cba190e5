"""One door to other libraries' private names, which tests itself against the installed versions."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
import warnings
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from operator import attrgetter
from pathlib import Path
from typing import Any

import jsonargparse
import lightning
import lightning_utilities
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.loops.fit_loop import _FitLoop
from torch.utils.data import DataLoader, TensorDataset

import mm2pl
from mm2pl.dataset import private as dataset_private
from mm2pl.errors import UnsupportedVersion
from mm2pl.lightning import private
from tests.scenarios import Scenario, build

ROOT = Path(mm2pl.__file__).parent
DOORS = ("lightning/private.py", "dataset/private.py")
ALLOWED: dict[tuple[str, str], str] = {
    ("*", "_fields"): "public: documented by typing.NamedTuple",
    ("registry/registry.py", "_getframe"): "sys: the scope is that of the caller, as in MMEngine",
    ("lightning/settings.py", "_getframe"): "sys: jsonargparse tells a type no earlier value",
    ("lightning/ranks.py", "_current_frames"): "sys: documented; where the other thread is",
    ("lightning/ranks.py", "_exit"): "os: documented; the main thread hangs",
    ("logging/logger.py", "_checkLevel"): "logging: MMLogger.setLevel takes what Logger's does",
    ("logging/logger.py", "_cache"): "logging: the levels looked up so far, void after setLevel",
    ("logging/logger.py", "_nameToLevel"): "logging: Python 3.10 has no getLevelNamesMapping",
    ("logging/logger.py", "_fmt"): "logging: one Formatter with a format per level",
    ("testing/*", "_internal"): "torch: what MMEngine's test cases derive from",
    (
        "ops/gather.py",
        "_embedding_bag_per_sample_weights_backward",
    ): "torch: a backward without a public name",
    ("analysis/*", "_*"): "torch: its tracer and dispatcher have no public names",
    ("checkpoint/progress.py", "_batches_that_stepped"): "a key in Lightning's checkpoint files",
    ("checkpoint/*", "_*_dict"): "torch: loading and saving one module, documented by use",
    ("checkpoint/*", "_*_hooks"): "torch: the hooks around that",
    ("checkpoint/*", "_metadata"): "torch: versions of the modules in a state dict",
    ("logging/storable.py", "_metadata"): "torch: versions of the modules in a state dict",
    ("checkpoint/weights.py", "_version"): "torch: the one that a module writes there",
    ("checkpoint/weights.py", "_modules"): "torch: children in the order in which it loads them",
    ("checkpoint/weights.py", "_IncompatibleKeys"): "torch: what load_state_dict returns",
    ("*", "_BatchNorm"): "torch: the only common base of the layers; MMEngine tests for it too",
    ("*", "_InstanceNorm"): "the same",
    ("*", "_ConvNd"): "the same",
    ("utils/dl_utils/parrots_wrapper.py", "_*"): "torch: bases of layers, which MMEngine exports",
    ("model/efficient_conv_bn_eval.py", "_conv_forward"): "torch: a convolution, other weights",
    ("model/averaged_model.py", "_foreach_lerp_"): "torch: all parameters in one call",
}
"""File and private name of another library → why it stands there."""


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name != "_"


@cache
def vocabulary() -> frozenset[str]:
    """Return the private names of the libraries that have a door; who touches one, touches theirs."""
    folders = [Path(lightning.__file__).parent / part for part in ("pytorch", "fabric")]
    folders += [Path(each.__file__).parent for each in (jsonargparse, lightning_utilities)]
    folders.append(Path(torch.__file__).parent / "utils/data")
    files = [
        Path(argparse.__file__),
        *(file for folder in folders for file in folder.rglob("*.py")),
    ]
    found = re.compile(r"(?:\.|\bdef |\bclass )(_(?!_)\w+)")
    return frozenset(name for file in files for name in found.findall(file.read_text()))


@cache
def sources() -> dict[str, ast.Module]:
    """Return the package's files, parsed."""
    files = sorted(ROOT.rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text()) for file in files}


@cache
def own_names() -> frozenset[str]:
    """Return the private names that mm2pl defines itself, as functions, classes, variables or attributes of self."""
    names: set[str] = set()
    for tree in sources().values():
        for node in ast.walk(tree):
            match node:
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    names.add(name)
                case ast.Name(id=name, ctx=ast.Store()):
                    names.add(name)
                case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                    names.add(name)
    return frozenset(names)


LIBRARIES = ("dataset", "plan", "checkpoint", "run", "hooks", "lightning", "runner", "cli")
"""The rooms that have objects of these libraries in their hands."""


def touches(path: str, tree: ast.Module) -> Iterator[str]:
    """Yield the private names of other libraries in a file."""
    ours = own_names()
    lent = vocabulary() if path.split("/")[0] in LIBRARIES else frozenset()
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="self" | "cls")):
                pass  # of classes that derive from theirs, the next test asks
            case ast.Attribute(value=value, attr=name) if is_private(name):
                via_super = isinstance(value, ast.Call) and ast.unparse(value) == "super()"
                if name not in ours or (name in lent and not via_super):
                    yield name
            case ast.Constant(value=str(name)) if name in lent and id(node) in keys_in(tree):
                yield name
            case ast.ImportFrom(module=module, level=0, names=names) if module:
                if not module.startswith("mm2pl"):
                    yield from filter(is_private, [*module.split("."), *(n.name for n in names)])
            case ast.Import(names=names):
                yield from (p for n in names for p in n.name.split(".") if is_private(p))


@cache
def keys_in(tree: ast.AST) -> frozenset[int]:
    """Return the strings that name an attribute or a key: ``getattr(x, "_y")``, ``vars(x)["_y"]``, ``{"_y": 1}``."""
    ids: set[int] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id=f), args=args) if f.endswith("attr") or "getter" in f:
                ids |= {id(arg) for arg in args}
            case ast.Dict(keys=keys):
                ids |= {id(key) for key in keys}
            case ast.Subscript(slice=key):
                ids.add(id(key))
            case ast.Compare(left=left):
                ids.add(id(left))
    return frozenset(ids)


def is_allowed(path: str, name: str) -> bool:
    return any(fnmatch(path, file) and fnmatch(name, known) for file, known in ALLOWED)


def test_private_names_of_other_libraries_are_used_behind_the_doors_only() -> None:
    wrong = {
        f"{path}: {name}"
        for path, tree in sources().items()
        if path not in DOORS
        for name in touches(path, tree)
        if not is_allowed(path, name)
    }
    assert not wrong


def test_every_allowed_name_is_needed() -> None:
    used = {(path, name) for path, tree in sources().items() for name in touches(path, tree)}
    idle = {
        (file, known)
        for file, known in ALLOWED
        if not any(fnmatch(path, file) and fnmatch(name, known) for path, name in used)
    }
    assert not idle


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("trainer._foo", "_foo"),
        ("trainer.fit_loop._should_accumulate()", "_should_accumulate"),
        ("loader._iterator = None", "_iterator"),
        ("getattr(module, '_trainer', None)", "_trainer"),
        ("vars(module)['_current_fx_name'] = None", "_current_fx_name"),
        ("from lightning.pytorch.loops import _FitLoop", "_FitLoop"),
        ("import lightning._private.part", "_private"),
    ],
)
def test_each_way_to_touch_one_is_found(line, name) -> None:
    assert list(touches("hooks/own.py", ast.parse(line))) == [name]


def foreign_classes(cls: type) -> list[type]:
    roots = ("lightning", "jsonargparse", "argparse", "torch.utils.data", "lightning_utilities")
    return [base for base in cls.__mro__ if base.__module__.startswith(roots)]


@cache
def names_used_by(cls: type) -> frozenset[str]:
    source = inspect.getsource(cls)
    return frozenset(re.findall(r"(?:\bself\.|\bdef )(_(?!_)\w+)", source))


def derived_classes() -> Iterator[type]:
    for path in sources():
        if path.split("/")[0] in LIBRARIES and path not in DOORS:
            name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
            module = importlib.import_module(f"mm2pl.{name}")
            for cls in vars(module).values():
                if isinstance(cls, type) and cls.__module__ == module.__name__:
                    yield cls


def test_subclasses_do_not_meet_private_names_of_their_bases() -> None:
    wrong = set()
    for cls in derived_classes():
        if bases := foreign_classes(cls):
            theirs = frozenset[str]().union(*map(names_used_by, bases))
            wrong |= {f"{cls.__name__}.{name}" for name in names_used_by(cls) & theirs}
    assert not wrong


# The self-tests


def make_trainer() -> Trainer:
    return Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)


def test_the_installed_versions_have_it_all() -> None:
    assert private.self_test(make_trainer()) == []
    assert private.is_known(make_trainer())
    assert dataset_private.self_test() == []


def test_the_package_asks_for_the_versions_that_the_self_test_knows() -> None:
    # As text: Python 3.10 has no tomllib.
    assert f'"{private.REQUIREMENT}",' in (ROOT.parent / "pyproject.toml").read_text()


@pytest.mark.parametrize("path", private.CLASSES)
def test_a_private_class_that_is_gone_is_named(monkeypatch, path) -> None:
    trainer = make_trainer()
    module, _, name = path.rpartition(".")
    monkeypatch.delattr(importlib.import_module(module), name)
    assert private.self_test(trainer) == [path]


@pytest.mark.parametrize(
    "path",
    [
        "Trainer._logger_connector",
        "Trainer._logger_connector._first_loop_iter",
        "Trainer.fit_loop.epoch_loop.manual_optimization",
        "Trainer.validate_loop._has_run",
    ],
)
def test_a_private_name_that_is_gone_is_named(path) -> None:
    trainer = make_trainer()
    owner, _, name = path.removeprefix("Trainer.").rpartition(".")
    delattr(attrgetter(owner)(trainer) if owner else trainer, name)
    assert private.self_test(trainer) == [path]


WAY_OUT = (
    r" → mm2pl works with (lightning>=2\.6\.0,.*<2\.7) → pip install '\1'\."
    r" Until then Lightning's own loops run, which do the same more slowly"
)
GONE = r"lightning \S+ without Trainer\.fit_loop\._gone" + WAY_OUT
UNKNOWN = r"lightning 2\.7\.0 whose loops mm2pl has not been compared with" + WAY_OUT


@pytest.fixture
def runner(tmp_path) -> Any:
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    scenario = Scenario(
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        train_cfg={"by_epoch": True, "max_epochs": 1},
    )
    return build("mm2pl", scenario, str(tmp_path), book)


@pytest.mark.parametrize("unknown", [False, True], ids=["a name", "the version"])
def test_a_run_goes_on_with_lightnings_own_loops(runner, monkeypatch, unknown) -> None:
    if unknown:
        monkeypatch.setattr(lightning, "__version__", "2.7.0")
    else:
        monkeypatch.setitem(private.NEEDED, "Trainer.fit_loop", "_gone")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        runner.train()
    [said] = [str(each.message) for each in caught if "mm2pl" in str(each.message)]
    assert re.fullmatch(UNKNOWN if unknown else GONE, said)
    assert runner.epoch == 1
    loops = (runner.trainer.fit_loop.epoch_loop, runner.trainer.validate_loop)
    assert not any(isinstance(loop, private.EpochLoop | private.EvaluationLoop) for loop in loops)


def test_what_has_no_other_way_is_refused(monkeypatch) -> None:
    trainer = make_trainer()
    monkeypatch.delattr(_FitLoop, "_should_accumulate")
    with pytest.raises(
        UnsupportedVersion, match=r"without _FitLoop\._should_accumulate → mm2pl works"
    ):
        private.has_gradients_waiting(trainer)


def test_workers_that_do_not_tell_whether_they_live_are_refused() -> None:
    loader = DataLoader(TensorDataset())
    del loader._iterator
    with pytest.raises(UnsupportedVersion, match=r"torch .* without DataLoader\._iterator → mm2pl"):
        dataset_private.has_live_workers(loader)


def test_all_bars_are_closed() -> None:
    bar, closed = private.TQDMBar(), []
    for stage in ("train", "predict"):
        setattr(
            bar,
            f"_{stage}_progress_bar",
            argparse.Namespace(close=lambda s=stage: closed.append(s)),
        )
    bar.close()
    assert closed == ["train", "predict"]
    assert not hasattr(TQDMProgressBar, "close")
