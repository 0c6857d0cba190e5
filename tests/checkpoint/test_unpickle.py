from __future__ import annotations

import copy
import pathlib
import pickle
import sys
import types
from collections import OrderedDict, defaultdict, deque

import numpy as np
import pytest
import torch

from mm2pl.checkpoint.reader import CheckpointError, read_checkpoint
from mm2pl.checkpoint.unpickle import STAND_INS, stand_ins_allowed
from mm2pl.logging import HistoryBuffer


@pytest.fixture
def foreign(monkeypatch):
    """Make classes that pickle under a foreign name, and forget them before the file is read."""
    made: list[str] = []

    def make(dotted: str, base: type = object, **members):
        module_name, _, name = dotted.rpartition(".")
        parts = module_name.split(".")
        for depth in range(1, len(parts) + 1):
            package = ".".join(parts[:depth])
            if package not in sys.modules or package in made:
                made.append(package)
                sys.modules.setdefault(package, types.ModuleType(package))
        cls = type(name, (base,), {"__module__": module_name, **members})
        monkeypatch.setattr(sys.modules[module_name], name, cls, raising=False)
        return cls

    hidden = {
        name: sys.modules.pop(name)
        for name in list(sys.modules)
        if name.partition(".")[0] in ("mmengine", "mmcv", "addict")
    }
    yield make
    for name in made:
        sys.modules.pop(name, None)
    sys.modules.update(hidden)


def round_trip(tmp_path, value, **kwargs):
    path = tmp_path / "file.pth"
    torch.save({"value": value}, path)
    for name in list(sys.modules):
        if name.partition(".")[0] in ("mmengine", "mmcv", "addict"):
            sys.modules[name] = None  # an import fails now
    return read_checkpoint(path, **kwargs)["value"]


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6, dtype=">i4").reshape(3, 2),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.array(["a", "bcd"]),
        np.array([b"a", b"bc"]),
        np.array([True, False]),
        np.array(3, dtype=np.uint8),
        np.zeros((0, 4), np.float32),
        np.array([1, "two", None], dtype=object),
        np.array([1 + 2j], dtype=np.complex64),
    ],
    ids=lambda a: f"{a.dtype}-{a.shape}",
)
def test_arrays_arrive_as_they_were(tmp_path, array):
    got = round_trip(tmp_path, array)
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    assert got.flags.writeable


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), np.float32(0.5)),
        (np.int64(7), np.int64(7)),
        (np.bool_(True), np.bool_(True)),
        (np.str_("ab"), np.str_("ab")),
        (np.dtype("f4"), np.dtype("f4")),
        (defaultdict(list, a=[1]), {"a": [1]}),
        (defaultdict(lambda: 0).__class__(int, {1: 2}), {1: 2}),
        (deque([1, 2], maxlen=3), [1, 2]),
        (frozenset({1, 2}), frozenset({1, 2})),
        (pathlib.PurePosixPath("/data/coco/x.json"), "/data/coco/x.json"),
        (pathlib.PurePosixPath("rel/x.json"), "rel/x.json"),
        (torch.torch_version.TorchVersion("2.1.0"), "2.1.0"),
        ((1, [np.float64(2.0)]), (1, [2.0])),
    ],
    ids=repr,
)
def test_values_that_need_no_openmmlab(tmp_path, value, expected):
    got = round_trip(tmp_path, value)
    assert got == expected
    assert type(got) is type(expected)


def test_history_buffer_becomes_ours(tmp_path, foreign):
    cls = foreign("mmengine.logging.history_buffer.HistoryBuffer", min=lambda self: 0)
    theirs = cls()
    theirs._log_history, theirs._count_history = np.array([0.5, 0.25]), np.array([1, 2])
    theirs.max_length, theirs._statistics_methods = 10, {"min": cls.min}
    cls.min.__qualname__, cls.min.__module__ = "HistoryBuffer.min", cls.__module__
    buffer = round_trip(tmp_path, theirs)
    assert type(buffer) is HistoryBuffer
    assert buffer.data[0].tolist() == [0.5, 0.25]
    assert buffer.data[1].tolist() == [1, 2]
    assert (buffer.max_length, buffer.data[1].dtype) == (10, np.int64)


def test_whole_message_hub_becomes_its_state_dict(tmp_path, foreign):
    hub = foreign("mmengine.logging.message_hub.MessageHub")()
    hub.__dict__.update(
        _log_scalars=OrderedDict(), _runtime_info={"iter": 3}, _resumed_keys={"iter": True}
    )
    assert round_trip(tmp_path, hub) == {
        "log_scalars": {},
        "runtime_info": {"iter": 3},
        "resumed_keys": {"iter": True},
    }


def reduce_like_configdict(self, protocol):
    return type(self), (dict(self),), None, None, iter(())


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("mmengine.config.config.ConfigDict", {"__reduce_ex__": reduce_like_configdict}),
        ("mmcv.utils.config.ConfigDict", {}),
        ("addict.addict.Dict", {"__getstate__": lambda self: self, "__setstate__": dict.update}),
    ],
)
def test_config_dicts_become_dicts(tmp_path, foreign, name, members):
    cls = foreign(name, dict, **members)
    inner = cls(lr=0.1)
    got = round_trip(tmp_path, cls(optimizer=inner, again=inner, steps=[cls(by_epoch=True)]))
    assert got == {"optimizer": {"lr": 0.1}, "again": {"lr": 0.1}, "steps": [{"by_epoch": True}]}
    assert {type(got), type(got["optimizer"]), type(got["steps"][0])} == {dict}
    assert got["optimizer"] is got["again"]


@pytest.mark.parametrize("module", ["mmengine.config.config", "mmcv.utils.config"])
def test_whole_config_becomes_its_values(tmp_path, foreign, module):
    cls = foreign(f"{module}.Config", __getstate__=lambda self: ({"a": 1}, "file.py", "a = 1"))
    assert round_trip(tmp_path, cls()) == {"a": 1}


def test_functions_of_schedulers_are_dropped(tmp_path, foreign):
    cls = foreign(
        "mmengine.optim.scheduler.param_scheduler.OneCycleParamScheduler", anneal=lambda x: x
    )
    cls.anneal.__module__, cls.anneal.__qualname__ = cls.__module__, "OneCycleParamScheduler.anneal"
    assert round_trip(tmp_path, {"anneal_func": cls.anneal, "total_steps": 20}) == {
        "total_steps": 20
    }


def test_a_cycle_and_shared_parts_stay(tmp_path):
    shared = [np.float64(1.0)]
    value = {"a": shared, "b": shared}
    value["self"] = value
    got = round_trip(tmp_path, value)
    assert got["a"] is got["b"]
    assert got["self"] is got


def test_tensors_and_metadata_are_untouched(tmp_path):
    weights = torch.nn.BatchNorm1d(3).state_dict()
    got = round_trip(tmp_path, weights)
    assert got._metadata == weights._metadata
    assert all(torch.equal(got[k], weights[k]) for k in weights)


class Bomb:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path("should_never_exist"),)


class BombByGetattr:
    def __reduce__(self):
        return getattr, (OrderedDict, "fromkeys")


@pytest.mark.parametrize(
    ("bomb", "named"),
    [
        (Bomb(), "pathlib.*Path.touch|builtins.getattr|pathlib"),
        (BombByGetattr(), "fromkeys"),
    ],
    ids=["call", "getattr"],
)
def test_code_is_refused_and_never_run(tmp_path, monkeypatch, bomb, named):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=named):
        round_trip(tmp_path, bomb)
    assert not (tmp_path / "should_never_exist").exists()


def test_a_forbidden_name_is_named_with_the_way_out(tmp_path):
    with pytest.raises(
        CheckpointError,
        match=r"file\.pth pickles fractions\.Fraction.*weights_only=False.*safe_globals",
    ):
        round_trip(tmp_path, __import__("fractions").Fraction(1, 2))


def test_opt_in_reads_everything(tmp_path, foreign):
    from fractions import Fraction

    cls = foreign("mmengine.config.config.ConfigDict", dict)
    got = round_trip(
        tmp_path, {"f": Fraction(1, 2), "c": cls(a=1), "g": np.array([1.5])}, weights_only=False
    )
    assert got == {"f": Fraction(1, 2), "c": {"a": 1}, "g": np.array([1.5])}
    assert type(got["c"]) is dict


def test_opt_in_names_the_missing_package(tmp_path, foreign):
    cls = foreign("mmengine.unknown.Thing")
    with pytest.raises(CheckpointError, match=r"mmengine.*cannot be imported"):
        round_trip(tmp_path, cls(), weights_only=False)


def test_the_users_own_allow_list_counts_and_stays(tmp_path):
    from fractions import Fraction

    with torch.serialization.safe_globals([Fraction]):
        known = set(torch.serialization.get_safe_globals())
        assert round_trip(tmp_path, Fraction(1, 2)) == Fraction(1, 2)
        assert set(torch.serialization.get_safe_globals()) == known


def test_the_allow_list_is_left_as_it_was():
    known = set(torch.serialization.get_safe_globals())
    with stand_ins_allowed():
        assert set(torch.serialization.get_safe_globals()) == known | set(STAND_INS.values())
    assert set(torch.serialization.get_safe_globals()) == known


def test_stand_ins_can_be_copied_by_name_only():
    """Two names never share an object: torch finds an allowed object by its own name."""
    names = {f"{o.__module__}.{o.__qualname__}" for o in STAND_INS.values()}
    assert names == set(STAND_INS)


def test_structured_dtypes_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="dtype 'V12'"):
        round_trip(tmp_path, np.zeros(2, dtype=[("a", "f4"), ("b", "f8")]))


def test_legacy_format_is_read(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"w": torch.ones(2), "s": np.float64(2)}, path, _use_new_zipfile_serialization=False)
    got = read_checkpoint(path)
    assert torch.equal(got["w"], torch.ones(2))
    assert got["s"] == 2.0


def test_a_forbidden_name_in_the_legacy_format(tmp_path):
    from fractions import Fraction

    path = tmp_path / "old.pth"
    torch.save({"f": Fraction(1, 2)}, path, _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"old\.pth pickles fractions\.Fraction, which"):
        read_checkpoint(path)


def test_pickle_protocol_of_python_is_named_as_damaged(tmp_path):
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(copy.copy({"a": 1}), protocol=4))
    with pytest.raises(CheckpointError, match=r"plain\.pkl"):
        read_checkpoint(path)
