"""Who is at fault: the class of an error says it, and nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import mm2pl
from mm2pl import errors
from mm2pl.cli.faults import told

PACKAGE = Path(mm2pl.__file__).parent
ROOMS = (
    *("check", "checkpoint", "cli", "dataset", "evaluator", "hooks", "infer", "lightning"),
    *(
        "mmcv/codemod",
        "mmcv/migration",
        "mmcv/runner",
        "optim",
        "plan",
        "registry",
        "run",
        "runner",
    ),
    "visualization",
)
"""Rooms whose errors tell of a config, a command line or a file."""

# They look like a mistake of the user's, and the one who raises them knows that it is one.
BUILTIN = (
    *("AssertionError", "FileExistsError", "FileNotFoundError", "ImportError", "OSError"),
    *("ModuleNotFoundError", "RuntimeError", "TypeError", "ValueError"),
)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_raises_what_a_user_can_put_right_as_a_user_error(room: str) -> None:
    raised = [
        f"{file.relative_to(PACKAGE)}:{node.lineno}"
        for file in (PACKAGE / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        if isinstance(node.exc.func, ast.Name) and node.exc.func.id in BUILTIN
    ]
    assert raised == []


def failure(text: str, path: Path) -> BaseException:
    path.write_text(text)
    code = compile(text, str(path), "exec")
    with pytest.raises(Exception, match="wrong") as caught:
        exec(code, {})
    # As far as the code itself; the frames of this test are not the user's.
    assert caught.value.__traceback__ is not None
    return caught.value.with_traceback(caught.value.__traceback__.tb_next)


FAILURES = {
    "a mistake": (
        "raise ArgumentError('wrong')",
        "mm2pl fit: ArgumentError: wrong\n  at {}:2, in ",
    ),
    "its place is told": (
        "raise ArgumentError(__file__ + ':2: wrong')",
        "mm2pl fit: ArgumentError: ",
    ),
    "a mistake that another error has caused": (
        "try: {}['wrong']\nexcept KeyError as error: raise ArgumentError('wrong') from error",
        "mm2pl fit: ArgumentError: wrong\n  at {}:2, in ",
    ),
    "anything else": ("raise ValueError('wrong')", ""),
}


@pytest.mark.parametrize(("line", "expected"), FAILURES.values(), ids=FAILURES)
def test_only_the_class_decides(line: str, expected: str, tmp_path: Path) -> None:
    file = tmp_path / "net.py"
    text = f"from mm2pl.errors import ArgumentError; __file__ = {str(file)!r}\n{line}\n"
    found = told(failure(text, file), "mm2pl fit")
    assert found.startswith(expected.format(file))
    assert bool(found) is bool(expected)
    assert found.count(f"{file}:2") == bool(expected)


@pytest.mark.parametrize(
    "kind",
    [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, Exception)
    ],
    ids=str,
)
def test_every_kind_is_a_user_error(kind: type[Exception]) -> None:
    assert issubclass(kind, errors.UserError)
