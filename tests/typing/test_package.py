"""The names of the package itself: found on first use, and known to type checkers beforehand."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import mm2pl

ROOMS = [import_module(f"mm2pl.{room}") for room in mm2pl._ROOMS]


def public(module) -> set[str]:
    """Return the names that ``from module import *`` imports for a type checker: those under ``as``."""
    return {
        alias.asname
        for node in ast.walk(ast.parse(Path(module.__file__).read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }


def test_type_checkers_are_told_the_rooms_that_are_looked_through():
    told = [
        node.module
        for node in ast.walk(ast.parse(Path(mm2pl.__file__).read_text()))
        if isinstance(node, ast.ImportFrom) and node.names[0].name == "*"
    ]
    assert sorted(told) == sorted(room.__name__ for room in ROOMS)


def test_each_public_name_of_a_room_is_one_of_the_package_and_in_one_room_only():
    names = [(name, room) for room in ROOMS for name in public(room)]
    assert len(names) == len(dict(names)) > 100
    for name, room in names:
        assert getattr(mm2pl, name) is getattr(room, name), name
