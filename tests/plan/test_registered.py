"""What is known of registered classes without importing them is what the classes say."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from mm2pl import locations
from mm2pl.plan import registered, typed
from mm2pl.plan.registered import taken_by_type
from mm2pl.plan.takes import Takes, taken_by
from mm2pl.plan.torch_source import constructor_of, sources, taken_by_torchs
from mm2pl.plan.typed import Types
from mm2pl.registry import OPTIMIZERS, Registry
from mm2pl.registry.linked import RootRegistry


def test_the_file_is_current() -> None:
    # In a process of its own: tests register classes, and import more than the registries do.
    code = "from mm2pl.plan.registered import written; print(written(), end='')"
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    stored = registered.FILE.read_text(encoding="utf-8")
    assert stored == done.stdout, "python -m mm2pl.plan.registered writes it anew"


def test_the_file_tells_all_of_each_class() -> None:
    for root, names in registered.ours().items():
        for name, known in names.items():
            real = taken_by(registered.ROOTS[root].get(name))
            assert known == (real if real.ours else None), (root, name)


def test_torchs_sources_say_what_its_optimizers_take() -> None:
    from mm2pl.registry.torch_optimizers import TORCH_OPTIMIZERS

    names = {locations.RENAMED.get(name, name) for name in TORCH_OPTIMIZERS}
    for name in names:
        real = taken_by(OPTIMIZERS.get(name))
        # The kind of the parameters themselves, which no config gives, has a name of torch's own.
        kinds = {argument: kinds for argument, kinds in real.kinds.items() if argument != "params"}
        assert taken_by_torchs(name) == replace(real, kinds=kinds), name
    assert {"SGD", "AdamW", "TorchAdafactor"} <= names <= set(sources())


@pytest.mark.parametrize("argument", ["lr", "momentum", "betas"])
def test_torchs_sources_say_its_optimizers_defaults(argument: str) -> None:
    from mm2pl.registry.torch_optimizers import TORCH_OPTIMIZERS

    seen = 0
    for name in {locations.RENAMED.get(name, name) for name in TORCH_OPTIMIZERS}:
        real = inspect.signature(OPTIMIZERS.get(name)).parameters
        read = inspect.signature(constructor_of(name)).parameters
        if argument in real:
            seen += 1
            assert read[argument].default == real[argument].default, name
    assert seen


def test_what_is_no_optimizer_of_torch() -> None:
    assert taken_by_torchs("lr_scheduler") is None
    assert taken_by_torchs("Nobodys") is None
    assert taken_by_type(OPTIMIZERS, "lr_scheduler") is None


def test_an_optimizer_that_the_sources_do_not_show_is_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registered, "sources", dict)
    registry = RootRegistry("optimizer")
    monkeypatch.setitem(typed.ROOTS, "optimizer", registry)

    def imported() -> None:
        registry.register_module("SGD", module=torch.optim.SGD, force=True)

    monkeypatch.setattr(registry, "import_from_location", imported)
    wrapper = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": 0.1}}
    config = {"optim_wrapper": wrapper, "train_cfg": {"by_epoch": True, "max_epochs": 1}}
    assert [*Types(config).faults()] == []
    wrapper["optimizer"] = {"type": "SGDD", "lr": 0.1}
    assert [fault.path for fault in Types(config).faults()] == ["optim_wrapper.optimizer.type"]


def _names(known: Takes | None) -> tuple[str, ...] | None:
    return None if known is None else known.names


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> RootRegistry:
    """Return a registry of hooks that has not imported mm2pl's and must not."""
    registry = RootRegistry("hook")

    def imported() -> None:
        pytest.fail("the hooks were imported")

    monkeypatch.setattr(registry, "import_from_location", imported)
    return registry


@pytest.mark.parametrize(
    ("key", "names"),
    [
        ("SyncBuffersHook", ()),
        ("EarlyStoppingHook", 7),
        ("mm2pl.EarlyStoppingHook", 7),
        ("mmengine.EarlyStoppingHook", 7),
        ("NoSuchHook", None),
    ],
)
def test_ours_are_known_without_an_import(fresh: RootRegistry, key: str, names: object) -> None:
    found = _names(taken_by_type(fresh, key))
    assert (len(found) if found else found) == names
    assert fresh.module_dict == {}


class EarlyStoppingHook:
    """A user's own."""

    def __init__(self, mine: int = 1) -> None: ...


def test_a_users_class_of_the_same_name_wins(fresh: RootRegistry) -> None:
    fresh.register_module(module=EarlyStoppingHook)
    assert _names(taken_by_type(fresh, "EarlyStoppingHook")) == ("mine",)


def test_a_child_is_asked_before_its_parent(fresh: RootRegistry) -> None:
    child = Registry("hook", parent=fresh, scope="test_registered")
    assert child.awaited("EarlyStoppingHook") == "EarlyStoppingHook"
    assert len(_names(taken_by_type(child, "EarlyStoppingHook")) or ()) == 7
    assert taken_by_type(child, "NoSuchHook") is None
    child.register_module(module=EarlyStoppingHook)
    assert child.awaited("EarlyStoppingHook") is None
    assert _names(taken_by_type(child, "EarlyStoppingHook")) == ("mine",)
    assert _names(taken_by_type(child, "test_registered.EarlyStoppingHook")) == ("mine",)


def test_what_has_imported_its_rooms_is_asked_itself() -> None:
    registry = RootRegistry("hook")
    registry.import_from_location()
    assert registry.awaited("EarlyStoppingHook") is None


def test_names_of_other_packages_are_asked_of_the_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = RootRegistry("optimizer")
    asked: list[str] = []
    monkeypatch.setattr(registry, "get", lambda key: asked.append(key))
    paths = ["mmdet.SGD", "torch.optim.SGD", "mmengine.optim", "mm2pl.NoSuchOptimizer"]
    for name in ["Lion", "NoSuchOptimizer", "DAdaptAdam", *paths]:
        taken_by_type(registry, name)
    assert asked == ["Lion", "DAdaptAdam", *paths]


def test_kinds_that_an_argument_refuses() -> None:
    known = Takes(name="A", kinds={"n": ("a number",), "none": ("a number",)}, unset=("none",))
    refused = [known.refuses("n", each) for each in ("1", 1, True, None, object())]
    assert refused == [True, False, False, True, False]
    assert (known.refuses("none", None), known.refuses("other", "1")) == (False, False)


def test_what_cannot_be_told_refuses_nothing() -> None:
    class Odd:
        def __eq__(self, other: object) -> bool:
            raise ValueError

        __hash__ = None  # type: ignore[assignment]

    def function(a, b: int): ...  # type: ignore[no-untyped-def]

    function.__annotations__["a"] = Odd()
    assert taken_by(function).kinds == {"b": ("a number",)}
    # Of no module.
    assert not taken_by(dict.fromkeys).ours
