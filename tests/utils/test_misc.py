from __future__ import annotations

import collections
import json
import sys
import types
from collections import OrderedDict, namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from mm2pl import utils
from mm2pl.utils.misc import import_modules_from_strings


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (utils.to_1tuple, 5, (5,)),
        (utils.to_2tuple, 5, (5, 5)),
        (utils.to_3tuple, (1, 2), (1, 2)),
        (utils.to_4tuple, [1], [1]),
        (utils.to_ntuple(3), None, (None, None, None)),
        (utils.to_2tuple, "ab", "ab"),
    ],
)
def test_tuples(function: Any, value: Any, expected: Any) -> None:
    assert function(value) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda: utils.is_seq_of([1, 2], int), True),
        (lambda: utils.is_seq_of((1, "2"), int), False),
        (lambda: utils.is_seq_of((1, "2"), (int, str)), True),
        (lambda: utils.is_seq_of({1: 2}, int), False),
        (lambda: utils.is_seq_of([], int, seq_type=list), True),
        (lambda: utils.is_list_of((1,), int), False),
        (lambda: utils.is_tuple_of((1,), int), True),
        (lambda: utils.is_str("a"), True),
        (lambda: utils.list_cast((1, 2), str), ["1", "2"]),
        (lambda: utils.tuple_cast("12", int), (1, 2)),
        (lambda: list(utils.iter_cast([1.5], int)), [1]),
        (lambda: utils.slice_list([1, 2, 3, 4, 5, 6], [1, 2, 3]), [[1], [2, 3], [4, 5, 6]]),
        (lambda: utils.slice_list([1, 2, 3, 4], 2), [[1, 2], [3, 4]]),
        (lambda: utils.concat_list([[1], [], [2, 3]]), [1, 2, 3]),
        (lambda: utils.has_method([], "append"), True),
        (lambda: utils.has_method(1, "real"), False),
    ],
)
def test_small_functions(call: Any, expected: Any) -> None:
    assert call() == expected


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: utils.is_seq_of([], int, "list"), AssertionError, "seq_type must be a type"),
        (lambda: utils.iter_cast(1, int), TypeError, "inputs must be an iterable object"),
        (lambda: utils.iter_cast([1], "int"), TypeError, '"dst_type" must be a valid type'),
        (lambda: utils.slice_list([1, 2], 1.5), TypeError, "must be an integer or a list"),
        (lambda: utils.slice_list([1, 2], [1]), ValueError, "does not match: 1 != 2"),
        (lambda: utils.slice_list([1, 2, 3], 2), AssertionError, "3 items cannot be cut into"),
        (lambda: utils.is_method_overridden("a", 1, 2), AssertionError, "doesn't accept instance"),
    ],
)
def test_wrong_calls(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_apply_to_keeps_types() -> None:
    Point = namedtuple("Point", "x y")
    data = OrderedDict(a=[1, (2, "x")], b=Point(3, None))
    applied = utils.apply_to(data, lambda x: isinstance(x, int), lambda x: -x)
    assert applied == OrderedDict(a=[-1, (-2, "x")], b=Point(-3, None))
    assert type(applied) is OrderedDict
    assert type(applied["b"]) is Point


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (torch.ones(1, 2, requires_grad=True), [[1.0, 1.0]]),
        (OrderedDict(a=(1, {"b": np.arange(2)})), {"a": [1, {"b": [0, 1]}]}),
        (torch.Tensor, torch.Tensor),
        ("ab", "ab"),
    ],
    ids=["number", "tensor", "nested", "class", "text"],
)
def test_to_lists(value: Any, expected: Any) -> None:
    made = utils.to_lists(value)
    assert made == expected
    assert type(made) is type(expected)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("json", json),
        ("collections.abc", sys.modules["collections.abc"]),
        ("collections.OrderedDict.fromkeys", OrderedDict.fromkeys),
        ("collections.Nothing", None),
        ("collections.OrderedDict.nothing.more", None),
        ("no_such_module.x", None),
        ("json..x", None),
        ("", None),
    ],
)
def test_get_object_from_string(path: str, expected: Any) -> None:
    assert utils.get_object_from_string(path) == expected


def test_a_function_wins_over_the_module_of_its_name(tmp_path, monkeypatch) -> None:
    (tmp_path / "ops").mkdir()
    (tmp_path / "ops" / "__init__.py").write_text("from ops.nms import nms\n")
    (tmp_path / "ops" / "nms.py").write_text("def nms(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = utils.get_object_from_string("ops.nms")
    assert isinstance(found, types.FunctionType)
    for name in ("ops", "ops.nms"):
        del sys.modules[name]


def test_imports() -> None:
    assert import_modules_from_strings(["json", "collections"]) == [json, collections]
    assert import_modules_from_strings("json") is json
    assert import_modules_from_strings([]) is None
    assert import_modules_from_strings(None) is None
    with pytest.warns(UserWarning, match="no_such_module failed to import and is ignored"):
        assert import_modules_from_strings("no_such_module", True) is None


@pytest.mark.parametrize(
    ("imports", "kind", "message"),
    [
        (("json",), TypeError, "custom_imports must be a list but got type <class 'tuple'>"),
        ([1], TypeError, "1 is of type <class 'int'> and cannot be imported"),
        (["no_such"], ImportError, "Failed to import no_such: No module named 'no_such'"),
    ],
)
def test_wrong_imports(imports: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        import_modules_from_strings(imports)


def test_requirements(capsys) -> None:
    @utils.requires_package("json")
    @utils.requires_executable(["python"])
    def good() -> str:
        return "done"

    @utils.requires_package(["json", "no_such_a", "no_such_b"])
    def bad() -> None:
        raise NotImplementedError

    @utils.requires_executable("no-such-program")
    def worse() -> None:
        raise NotImplementedError

    assert good() == "done"
    with pytest.raises(RuntimeError, match='Prerequisites "no_such_a, no_such_b" are required in'):
        bad()
    assert 'method "bad" but not found, please install them first.' in capsys.readouterr().out
    with pytest.raises(RuntimeError, match='"no-such-program" are required in method "worse"'):
        worse()


class Net:
    @utils.deprecated_api_warning({"a": "x"}, cls_name="Net")
    def run(self, x: int, b: int = 0) -> tuple[int, int]:
        return x, b


def test_old_argument_names() -> None:
    assert Net().run(1, b=2) == (1, 2)
    with pytest.warns(DeprecationWarning, match='"a" is deprecated in `Net.run`, please use "x"'):
        assert Net().run(a=1) == (1, 0)
    with pytest.raises(AssertionError, match="deprecated key `a` to new key `x`, but got them"):
        Net().run(a=1, x=2)


def test_an_old_name_by_position() -> None:
    @utils.deprecated_api_warning({"old": "new"})
    def call(old: int, new: int = 0) -> int:
        return old

    with pytest.warns(DeprecationWarning, match='"old" is deprecated in `call`'):
        assert call(1) == 1


def test_overridden_methods() -> None:
    class Base:
        def one(self) -> None: ...

        def two(self) -> None: ...

    class Child(Base):
        def one(self) -> None: ...

    assert utils.is_method_overridden("one", Base, Child)
    assert utils.is_method_overridden("one", Base, Child())
    assert not utils.is_method_overridden("two", Base, Child)


def test_deprecated_function(capsys) -> None:
    @utils.deprecated_function("0.2", "0.3", "use other()")
    def old(x: int) -> int:
        """Do it.

        For long.
        """
        return x + 1

    assert old(1) == 2
    assert "old' is deprecated in version 0.2 and will be removed in version 0.3" in (
        capsys.readouterr().out
    )
    assert (
        old.__doc__
        == """.. deprecated:: 0.2
    Deprecated and will be removed in version 0.3.
    Please use other().


    Do it.

    For long.
"""
    )
