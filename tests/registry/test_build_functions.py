from __future__ import annotations

import functools
import sys

import pytest

from mm2pl.registry import (
    MODELS,
    PARAM_SCHEDULERS,
    RUNNERS,
    DefaultScope,
    Registry,
    RegistryKeyError,
    build_from_cfg,
    build_model_from_cfg,
)
from mm2pl.utils import ManagerMixin


class Net:
    """A thing to build."""

    def __init__(self, depth: int, stages: int = 4) -> None:
        self.args = (depth, stages)


class Failing:
    def __init__(self, inner: dict | None = None) -> None:
        if inner is not None:
            NETS.build(inner)
        raise ValueError("out of luck")


class Open:
    def __init__(self, **kwargs: int) -> None:
        self.kwargs = kwargs


NETS = Registry("net", scope="nets")
for cls in (Net, Failing, Open):
    NETS.register_module(module=cls)


class FakeConfig:
    """What both Config classes look like from outside."""

    def __init__(self, content: dict) -> None:
        self._cfg_dict = content


@pytest.mark.parametrize(
    ("cfg", "default_args", "expected"),
    [
        ({"type": "Net", "depth": 50}, None, (50, 4)),
        ({"type": "Net", "depth": 50}, {"stages": 3, "depth": 1}, (50, 3)),
        ({"depth": 50}, {"type": "Net"}, (50, 4)),
        ({"type": Net, "depth": 50}, None, (50, 4)),
        ({"type": functools.partial(Net, 7)}, None, (7, 4)),
        ({"type": f"{__name__}.Net", "depth": 2}, None, (2, 4)),
        (FakeConfig({"type": "Net", "depth": 50}), FakeConfig({"stages": 5}), (50, 5)),
    ],
    ids=["name", "defaults", "default type", "class", "partial", "path", "configs"],
)
def test_build(cfg: object, default_args: object, expected: tuple, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules[Net.__module__])
    assert build_from_cfg(cfg, NETS, default_args).args == expected


def test_the_config_is_not_changed() -> None:
    cfg = {"type": "Net", "depth": 50, "_scope_": "nets"}
    build_from_cfg(cfg, NETS, {"stages": 1})
    assert cfg == {"type": "Net", "depth": 50, "_scope_": "nets"}


def test_scope_of_a_config() -> None:
    child = Registry("net", parent=NETS, scope="toys")

    @child.register_module(name="Net")
    class ToyNet:
        pass

    assert isinstance(NETS.build({"type": "Net", "_scope_": "toys"}), ToyNet)
    DefaultScope.get_instance("task", scope_name="toys")
    assert isinstance(NETS.build({"type": "Net"}), ToyNet)
    assert NETS.build({"type": "Net", "_scope_": "nets", "depth": 1}).args == (1, 4)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((1, NETS), TypeError, "cfg should be a dict, ConfigDict or Config, but got <class 'int'>"),
        (({"a": 1}, NETS), KeyError, "must contain the key \"type\", but got {'a': 1}"),
        (
            ({"type": "Net"}, "nets"),
            TypeError,
            r"registry must be a mmengine.Registry object.* → mm2pl.registry.Registry\(",
        ),
        (({"type": "Net"}, NETS, 1), TypeError, "default_args should be a dict"),
        (({"type": 5}, NETS), TypeError, "type must be a str or valid type, but got <class 'int'>"),
        (({"type": "Nit"}, NETS), RegistryKeyError, "Nit is not in the nets::net registry"),
        (
            ({"type": "Net", "dept": 5}, NETS),
            TypeError,
            r"unexpected keyword argument 'dept'.*type='Net' of the nets::net.*"
            r"Accepted: depth, stages. Did you mean 'depth'\?",
        ),
        (({"type": "Net"}, NETS), TypeError, "missing 1 required.*'depth'"),
        (({"type": "Failing"}, NETS), ValueError, "out of luck"),
    ],
)
def test_wrong_configs(arguments: tuple, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        build_from_cfg(*arguments)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have no notes")
def test_a_failing_constructor_keeps_its_exception_and_says_what_was_built() -> None:
    with pytest.raises(ValueError, match="out of luck") as caught:
        NETS.build({"type": "Failing", "inner": {"type": "Failing"}})
    notes = caught.value.__notes__
    assert (
        notes
        == [f"While building type='Failing' of the nets::net registry ({__name__}.Failing)."] * 2
    )
    assert caught.traceback[-1].name == "__init__"


def test_an_unknown_argument_of_an_inner_call_is_not_blamed_on_the_outer() -> None:
    class Outer:
        def __init__(self, depth: int) -> None:
            Net(depth, nonsense=depth)  # type: ignore[call-arg]

    with pytest.raises(
        TypeError, match=r"Net.__init__\(\) got an unexpected.*'nonsense'\nWhile building"
    ):
        NETS.build({"type": Outer, "depth": 1})


def test_managed_classes_are_got_by_name() -> None:
    class Shared(ManagerMixin):
        def __init__(self, name: str, size: int = 0) -> None:
            super().__init__(name)
            self.size = size

    built = NETS.build({"type": Shared, "name": "one", "size": 3})
    assert built is Shared.get_instance("one")
    assert built.size == 3


def test_runners_are_made_by_from_cfg() -> None:
    @RUNNERS.register_module()
    class MyRunner:
        @classmethod
        def from_cfg(cls, cfg: dict) -> tuple:
            return cls, cfg

    cfg = {"runner_type": "MyRunner", "work_dir": "x"}
    assert RUNNERS.build(cfg) == (MyRunner, cfg)
    with pytest.raises(
        RegistryKeyError, match=r"MyRuner is not in the (?s:.*)Did you mean 'MyRunner'"
    ):
        RUNNERS.build({"runner_type": "MyRuner"})
    with pytest.raises(AssertionError, match="cfg should be a dict, ConfigDict or Config"):
        RUNNERS.build(["Runner"])


def test_a_list_of_models_is_a_sequential() -> None:
    from torch import nn

    cfgs = [{"type": nn.Linear, "in_features": 2, "out_features": k} for k in (2, 3)]
    model = build_model_from_cfg(cfgs, MODELS)
    assert isinstance(model, nn.Sequential)
    assert [layer.out_features for layer in model] == [2, 3]


class Schedule:
    def __init__(self, optimizer: str, gamma: float, by_epoch: bool = True) -> None:
        self.args = (optimizer, gamma, by_epoch)

    @classmethod
    def build_iter_from_epoch(cls, *args: object, epoch_length: int, **kwargs: object) -> tuple:
        return epoch_length, kwargs


@pytest.mark.parametrize("kind", [Schedule, "S"])
def test_schedulers_are_converted(kind: object) -> None:
    PARAM_SCHEDULERS.register_module("S", module=Schedule)
    cfg = {"type": kind, "gamma": 0.1}
    defaults = {"optimizer": "o", "epoch_length": 9}
    assert PARAM_SCHEDULERS.build(cfg, default_args=defaults).args == ("o", 0.1, True)
    converted = PARAM_SCHEDULERS.build(
        {**cfg, "convert_to_iter_based": True}, default_args=defaults
    )
    assert converted == (9, {"gamma": 0.1, "optimizer": "o"})


@pytest.mark.parametrize(
    ("extra", "message"),
    [({}, "needs epoch_length"), ({"epoch_length": 9, "by_epoch": False}, "with by_epoch=False")],
)
def test_what_cannot_be_converted(extra: dict, message: str) -> None:
    cfg = {"type": Schedule, "gamma": 0.1, "convert_to_iter_based": True}
    with pytest.raises(AssertionError, match=f"convert_to_iter_based=True {message}"):
        PARAM_SCHEDULERS.build(cfg, default_args={"optimizer": "o", **extra})
