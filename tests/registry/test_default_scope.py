from __future__ import annotations

import pytest

from mm2pl.registry import DefaultScope


def test_the_scope_set_last_is_current() -> None:
    assert DefaultScope.get_current_instance() is None
    DefaultScope.get_instance("first", scope_name="mmdet")
    second = DefaultScope.get_instance("second", scope_name="mmseg")
    assert DefaultScope.get_current_instance() is second
    assert second.scope_name == "mmseg"


def test_scope_name_must_be_a_string() -> None:
    with pytest.raises(AssertionError, match="scope_name should be a string, but got 1"):
        DefaultScope.get_instance("bad", scope_name=1)


def test_overwriting_nests_and_ends() -> None:
    DefaultScope.get_instance("task", scope_name="mmdet")
    with DefaultScope.overwrite_default_scope("mmseg"):
        with DefaultScope.overwrite_default_scope(None):
            assert DefaultScope.get_current_instance().scope_name == "mmseg"
        with DefaultScope.overwrite_default_scope("mmpose"):
            assert DefaultScope.get_current_instance().scope_name == "mmpose"
        assert DefaultScope.get_current_instance().scope_name == "mmseg"
    assert list(DefaultScope._instance_dict) == ["task"]
