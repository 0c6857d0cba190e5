from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm2pl import utils
from mm2pl.utils.path import find_vcs_root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.bin", "b.TXT", ".hidden.txt", "sub/c.txt", "sub/.deep/d.txt", ".git/e.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"a.bin", "b.TXT"}),
        ({"suffix": ".txt"}, set()),
        ({"suffix": ".txt", "case_sensitive": False}, {"b.TXT"}),
        ({"suffix": (".bin", ".TXT")}, {"a.bin", "b.TXT"}),
        ({"recursive": True, "suffix": "txt"}, {"sub/c.txt", "sub/.deep/d.txt", ".git/e.txt"}),
    ],
)
def test_scandir(folder: Path, options: dict[str, Any], expected: set[str]) -> None:
    assert set(utils.scandir(folder, **options)) == expected
    assert set(utils.scandir(str(folder), **options)) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((1,), '"dir_path" must be a string or Path'), (("a", 1), '"suffix" must be a string or')],
)
def test_wrong_scandir(arguments: tuple, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        utils.scandir(*arguments)


def test_files(folder: Path) -> None:
    utils.check_file_exist(folder / "a.bin")
    with pytest.raises(FileNotFoundError, match=r'file "nothing.x" does not exist'):
        utils.check_file_exist("nothing.x")
    for path in (folder / "a.bin", str(folder / "a.bin")):
        with utils.fopen(path) as file:
            assert file.read() == "a.bin"
        assert utils.is_filepath(path)
    with pytest.raises(ValueError, match="`filepath` should be a string or a Path, but got 3"):
        utils.fopen(3)  # type: ignore[arg-type]


def test_folders_and_links(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    for _ in range(2):
        utils.mkdir_or_exist("~/x/y")
    utils.mkdir_or_exist("")
    assert (folder / "x" / "y").is_dir()
    link = folder / "link"
    utils.symlink(folder / "a.bin", link)
    utils.symlink(folder / "b.TXT", link)
    assert link.read_text() == "b.TXT"
    with pytest.raises(FileExistsError, match="File exists"):
        utils.symlink(folder / "a.bin", link, overwrite=False)


def test_find_vcs_root(folder: Path) -> None:
    for start in ("sub/.deep", "sub/c.txt", ""):
        assert find_vcs_root(folder / start) == str(folder)
    assert find_vcs_root(folder, markers=("no_such_marker",)) is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a", True), ("a/b", False), ("s3://a", True), ("https://a", True), ("", False)],
)
def test_is_abs(path: str, expected: bool) -> None:
    assert utils.is_abs(path) is expected
