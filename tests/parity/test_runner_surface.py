"""MMEngine's whole surface of a run, found by going through its classes, and each name's state here."""

from __future__ import annotations

import functools
import importlib
import inspect
import tempfile
from collections import Counter
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from tests.parity.surface_corpus import (
    VARIABLE,
    calls_of,
    differences,
    make,
    own_methods,
    part,
    raw,
    run,
)
from tests.parity.surface_table import (
    ASKED_AGAIN,
    ASSIGNMENTS,
    ATTRIBUTES,
    CLASSES,
    DRIVING,
    HOLDERS,
    MORE_ARGUMENTS,
    NOT_ASSIGNED,
    OTHER_DEFAULTS,
    OTHER_ENTRIES,
    OTHER_SIGNATURES,
    OTHER_VALUES,
    UNCOUNTED,
)

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("quick_runs"),
]
pytest.importorskip("mmengine")


# Signatures


def members(cls: type) -> list[str]:
    """Return the names of everything that MMEngine's class has, Python's own aside.

    Of its experimental FlexibleRunner the public ones: here it is a Runner inside.
    """
    inner = "_" if cls.__name__ == "FlexibleRunner" else "__"
    hidden = {name for name in dir(cls) if name.startswith(inner)} - {"__init__"}
    return sorted(set(dir(cls)) - hidden - {"_abc_impl"})


def described(cls: type, name: str) -> Any:
    """Return what kind of member it is; for a method also its arguments with their defaults.

    A property that can be assigned too, where MMEngine's underscored name must be taken, is as good.
    """
    member = raw(cls, name)
    if member is None and name not in dir(cls):
        return "absent"
    if isinstance(member, property):
        return "property"
    if not callable(member) and not isinstance(member, classmethod | staticmethod):
        return "value"
    function = getattr(member, "__func__", member)
    parameters = inspect.signature(function).parameters.values()
    # The order of keyword-only arguments says nothing.
    ordered = sorted(parameters, key=lambda p: p.name if p.kind is p.KEYWORD_ONLY else "")
    return type(member).__name__, [(p.name, p.kind.name, p.default) for p in ordered]


def comparable(described: Any) -> Any:
    """Leave out what the tables list: an argument more, and other defaults."""
    kind, arguments = described
    kept = [a for a in arguments if a[0] != "trainer"]
    return kind, [a[:2] if a[0] in OTHER_DEFAULTS else a for a in kept]


@pytest.mark.parametrize("cls", CLASSES)
def test_same_signatures(cls: str) -> None:
    ours, theirs = (part(package, CLASSES[cls]) for package in ("mm2pl", "mmengine"))
    pairs = {n: (described(ours, n), described(theirs, n)) for n in members(theirs)}
    differ = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
    for name in MORE_ARGUMENTS.get(cls, ()):
        if comparable(differ[name][0]) == comparable(differ[name][1]):
            del differ[name]
    listed = {name for name in OTHER_SIGNATURES if name.startswith(f"{cls}.")}
    unlisted = {n: pair for n, pair in differ.items() if f"{cls}.{n}" not in listed}
    assert unlisted == {}, unlisted
    assert listed == {f"{cls}.{name}" for name in differ}, "equal by now → take it out of the table"


# Overrides

OVERRIDDEN = [
    ("Runner", "epochs"),
    ("Runner", "iterations"),
    ("Runner", "loaded"),
    ("Runner", "resumed"),
    ("EpochBasedTrainLoop", "epochs"),
    ("IterBasedTrainLoop", "iterations"),
    ("ValLoop", "epochs"),
    ("TestLoop", "epochs"),
    ("Hook", "epochs"),
    ("Hook", "iterations"),
    ("Hook", "resumed"),
    ("OptimWrapper", "epochs"),
    ("OptimWrapper", "iterations"),
    ("OptimWrapper", "resumed"),
    ("OptimWrapperDict", "epochs"),
    ("LogProcessor", "epochs"),
    ("LogProcessor", "iterations"),
]


def names_of(cls: str) -> list[str]:
    """Return the methods of MMEngine's class that may be overridden here."""
    theirs = part("mmengine", CLASSES[cls])
    left_out = {*DRIVING, *UNCOUNTED}
    return [name for name in own_methods(theirs) if f"{cls}.{name}" not in left_out]


@functools.cache
def called(package: str, cls: str, by: str) -> list[str]:
    with tempfile.TemporaryDirectory() as folder:
        return calls_of(package, cls, by, names_of(cls), Path(folder))


@pytest.mark.parametrize(("cls", "by"), OVERRIDDEN, ids=lambda part: part)
def test_overrides_are_called_as_often(cls: str, by: str) -> None:
    ours, theirs = (Counter(called(package, cls, by)) for package in ("mm2pl", "mmengine"))
    assert theirs, "MMEngine called nothing"
    theirs.subtract(ASKED_AGAIN.get(f"{cls}.{by}", ()))
    assert {n: (ours[n], theirs[n]) for n in names_of(cls) if ours[n] != theirs[n]} == {}


@pytest.mark.parametrize(("cls", "by"), OVERRIDDEN, ids=lambda part: part)
def test_overrides_are_called_first_in_the_same_order(cls: str, by: str) -> None:
    ours, theirs = (list(dict.fromkeys(called(p, cls, by))) for p in ("mm2pl", "mmengine"))
    assert ours == theirs


@pytest.mark.parametrize("name", DRIVING)
def test_a_class_that_drives_is_called_as_often(name: str, tmp_path: Path) -> None:
    cls, _, method = name.partition(".")
    by = "iterations" if cls.startswith("Iter") else "epochs"
    ours, theirs = (
        calls_of(package, cls, by, [method, "run_iter"], tmp_path / package)
        for package in ("mm2pl", "mmengine")
    )
    assert theirs.count(method) >= 1
    assert ours == theirs


# Reads


NAMES = [f"{holder}.{name}".lstrip(".") for holder, names in ATTRIBUTES.items() for name in names]


@functools.cache
def read(package: str, by: str, when: str) -> dict[str, Any]:
    """Return what each name of ATTRIBUTES holds, before or after training and testing."""
    with tempfile.TemporaryDirectory() as folder:
        runner, _ = make(package, by, Path(folder))
        if when == "after":
            runner.train()
            runner.test()
        # The underscored names come first: reading a public one builds what they hold.
        return {name: plain(value_of(runner, name), folder) for name in NAMES}


def value_of(runner: Any, name: str) -> Any:
    try:
        return attrgetter(name)(runner)
    except AttributeError:
        return "absent"


def plain(value: Any, folder: str) -> Any:
    """Return a value in terms that two packages share: objects become the names of their classes."""
    if isinstance(value, str):
        return VARIABLE.sub("", value.replace(folder, ""))
    if isinstance(value, bool | int | float | None):
        return value
    if isinstance(value, dict):
        return {key: plain(item, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, folder) for item in value]
    return (
        value.__name__
        if inspect.isroutine(value) or isinstance(value, type)
        else type(value).__name__
    )


@pytest.mark.parametrize("holder", ATTRIBUTES)
def test_every_attribute_of_mmengines_object_has_a_row(holder: str, tmp_path: Path) -> None:
    runner, _ = make("mmengine", "iterations", tmp_path)
    names = held_by(runner, holder) if holder != "optim_wrapper" else set()
    runner.train()
    names |= held_by(runner, holder)
    if holder == "train_loop":
        names |= held_by(make("mmengine", "epochs", tmp_path)[0], holder)
    assert names - {"_abc_impl"} == set(ATTRIBUTES[holder])


def held_by(runner: Any, holder: str) -> set[str]:
    theirs = attrgetter(holder)(runner) if holder else runner
    return {*vars(theirs), *(n for n in dir(theirs) if isinstance(raw(type(theirs), n), property))}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("by", ["epochs", "iterations"])
def test_same_values(by: str, when: str) -> None:
    ours, theirs = (read(package, by, when) for package in ("mm2pl", "mmengine"))
    # Until training begins the optimizer wrapper is a dict.
    names = [n for n in NAMES if when == "after" or not n.startswith("optim_wrapper.")]
    differ = {name: (ours[name], theirs[name]) for name in names if ours[name] != theirs[name]}
    assert {name: pair for name, pair in differ.items() if name not in OTHER_VALUES} == {}


# Assignments


@functools.cache
def untouched(by: str, verbs: tuple[str, ...]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return run(*make("mmengine", by, Path(folder, "run")), verbs)


def assigned(package: str, name: str, folder: Path) -> dict[str, Any]:
    """Make a runner, assign, run, and return the outcome."""
    row = ASSIGNMENTS[name]
    runner, book = make(package, row.by, folder / "run")
    row.assign(runner, package, folder / "run")
    return run(runner, book, row.verbs)


def rows(state: str) -> list[str]:
    return [name for name, row in ASSIGNMENTS.items() if row.state.startswith(state)]


@pytest.mark.parametrize("name", rows("acts"))
def test_an_assignment_acts(name: str, tmp_path: Path) -> None:
    row = ASSIGNMENTS[name]
    theirs = assigned("mmengine", name, tmp_path / "theirs")
    changed = differences(theirs, untouched(row.by, row.verbs))
    assert bool(changed) == row.effect, changed
    differ = differences(assigned("mm2pl", name, tmp_path / "ours"), theirs)
    if row.state == "acts here only":
        assert differ
    else:
        assert differ == {}


@pytest.mark.parametrize("name", rows("refused"))
def test_an_assignment_is_refused(name: str, tmp_path: Path) -> None:
    row = ASSIGNMENTS[name]
    runner, _ = make("mm2pl", row.by, tmp_path)
    with pytest.raises(
        (AttributeError, TypeError, ValueError, NotImplementedError), match=row.told
    ):
        row.assign(runner, "mm2pl", tmp_path)


@pytest.mark.parametrize("holder", [holder for holder in ATTRIBUTES if holder != "log_processor"])
def test_every_attribute_has_an_assignment(holder: str) -> None:
    """Log processors aside, whose attributes are their arguments under other names."""
    rows = {name.partition(",")[0] for name in ASSIGNMENTS}
    names = (f"{holder}.{name}".lstrip(".") for name in ATTRIBUTES[holder])
    base = part("mmengine", CLASSES[HOLDERS[holder]])
    missing = [
        n for n in names if n not in rows and not isinstance(raw(base, n.split(".")[-1]), property)
    ]
    assert [n for n in missing if n not in NOT_ASSIGNED] == []


# Registries

ROOTS = (
    *("RUNNERS", "RUNNER_CONSTRUCTORS", "LOOPS", "HOOKS", "LOG_PROCESSORS", "STRATEGIES"),
    *("VISUALIZERS", "VISBACKENDS", "MODELS", "MODEL_WRAPPERS", "WEIGHT_INITIALIZERS"),
    *("INFERENCERS", "EVALUATOR", "FUNCTIONS", "TASK_UTILS", "OPTIM_WRAPPERS"),
    *("OPTIM_WRAPPER_CONSTRUCTORS", "TRANSFORMS"),
)


@pytest.mark.parametrize("root", ROOTS)
def test_same_entries(root: str) -> None:
    importlib.import_module("mmengine._strategy")
    theirs = importlib.import_module("mmengine.registry").__dict__[root]
    ours = importlib.import_module("mm2pl.registry").__dict__.get(root)
    names = {name for name, entry in theirs.module_dict.items() if made_by("mmengine", entry)}
    missing = {name for name in names if not made_by("mm2pl", ours.get(name))}
    assert {f"{root}.{name}" for name in missing} == {
        name for name in OTHER_ENTRIES if name.startswith(f"{root}.")
    }
    assert ours.name == theirs.name


def made_by(package: str, entry: Any) -> bool:
    """Return whether an entry is the package's own or torch's.

    The tests register others, and a name that is missing here is found in MMEngine where that is imported.
    """
    return getattr(entry, "__module__", "").partition(".")[0] in (package, "torch")
