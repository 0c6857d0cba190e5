from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm2pl.fileio import dict_from_file, list_from_file


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a\nb\nc\n", {}, ["a", "b", "c"]),
        ("a\r\nb", {}, ["a", "b"]),
        ("a\n\n", {}, ["a", ""]),
        ("", {}, []),
        ("\n", {}, [""]),
        (" a \n", {"prefix": "x/"}, ["x/ a "]),
        ("a\nb\nc\n", {"offset": 2}, ["c"]),
        ("a\nb\nc\n", {"max_num": 2}, ["a", "b"]),
        ("a\nb\nc\n", {"offset": 1, "max_num": 1}, ["b"]),
        ("a\n", {"offset": 5}, []),
    ],
)
def test_list_from_file(tmp_path: Path, text: str, options: dict, expected: list[str]) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert list_from_file(path, **options) == expected
    assert list_from_file(str(path), **options) == expected


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("1 cat\n2 dog cow\n", {}, {"1": "cat", "2": ["dog", "cow"]}),
        ("1 cat\n2 dog cow", {"key_type": int}, {1: "cat", 2: ["dog", "cow"]}),
        ("", {}, {}),
    ],
)
def test_dict_from_file(tmp_path: Path, text: str, options: dict, expected: dict) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(text)
    assert dict_from_file(path, **options) == expected


@pytest.mark.parametrize("line", ["alone", ""])
def test_a_line_without_a_value_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "dict.txt"
    path.write_text(f"a 1\n{line}\nb 2\n")
    with pytest.raises(
        AssertionError, match=rf"dict.txt:2: expected a key and a value, but .*'{line}'"
    ):
        dict_from_file(path)


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("grün\n", encoding="latin-1")
    assert list_from_file(path, encoding="latin-1") == ["grün"]


@pytest.mark.parametrize("read", [list_from_file, dict_from_file])
def test_the_older_clients(tmp_path: Path, read: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("a b\n")
    with pytest.warns(DeprecationWarning, match='"file_client_args" will be deprecated'):
        assert read(path, file_client_args={"backend": "disk"}) in (["a b"], {"a": "b"})
    with (
        pytest.warns(DeprecationWarning, match="deprecated"),
        pytest.raises(ValueError, match="cannot be set at the same time"),
    ):
        read(path, file_client_args={"backend": "disk"}, backend_args={"backend": "local"})
    assert '"FileClient" will be deprecated' in capsys.readouterr().out
