from __future__ import annotations

import sys
from pathlib import Path
from shutil import SameFileError
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from mm2pl import fileio


class Client:
    """What MMEngine uses of petrel_client's Client, over a dict."""

    def __init__(self, conf_path: str | None, enable_mc: bool) -> None:
        self.settings = (conf_path, enable_mc)
        self.stored = {
            "s3://b/a.txt": b"a",
            "c:s3://b/dir/b.txt": b"b",
            "c:s3://b/dir/x/c.bin": b"c",
        }

    def Get(self, path: str) -> bytes | None:
        return self.stored.get(path)

    def put(self, path: str, content: bytes) -> None:
        self.stored[path] = content

    def contains(self, path: str) -> bool:
        return path in self.stored

    def isdir(self, path: str) -> bool:
        return any(name.startswith(path.rstrip("/") + "/") for name in self.stored)

    def delete(self, path: str) -> None:
        del self.stored[path]

    def list(self, folder: str) -> list[str]:
        below = [name[len(folder) :] for name in self.stored if name.startswith(folder)]
        return sorted({head + slash for head, slash, _ in (name.partition("/") for name in below)})

    def generate_presigned_url(self, url: str, client_method: str, expires_in: int) -> str:
        return f"{url}?{client_method}&{expires_in}"


class OlderClient:
    def __init__(self, conf_path: str | None, enable_mc: bool) -> None: ...


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    package = ModuleType("petrel_client")
    package.client = SimpleNamespace(Client=Client)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "petrel_client", package)
    return package


@pytest.fixture
def backend(installed: ModuleType) -> Any:
    return fileio.PetrelBackend(path_mapping={"data/": "petrel://b/"}, conf_path="~/petrel.conf")


def test_the_installed_client_is_used(backend: Any) -> None:
    assert backend._client.settings == ("~/petrel.conf", True)
    assert backend.get_text("data/a.txt") == "a"
    assert backend.get("petrel://b\\a.txt") == b"a"
    backend.put_text("n", "data/n.txt")
    assert backend._client.stored["s3://b/n.txt"] == b"n"
    assert backend.generate_presigned_url("petrel://b/a.txt", expires_in=5) == (
        "s3://b/a.txt?get_object&5"
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("data/a.txt", (True, True, False)),
        ("c:s3://b/dir", (True, False, True)),
        ("s3://b/no", (False, False, False)),
    ],
    ids=["file", "folder of a cluster", "nothing"],
)
def test_what_is_there(backend: Any, path: str, expected: tuple[bool, ...]) -> None:
    assert (backend.exists(path), backend.isfile(path), backend.isdir(path)) == expected


def test_listing(backend: Any) -> None:
    assert list(backend.list_dir_or_file("c:s3://b/dir", recursive=True)) == [
        "b.txt",
        "x",
        "x/c.bin",
    ]
    assert list(backend.list_dir_or_file("c:s3://b/dir", list_dir=False, suffix=".bin")) == []


def test_copies(backend: Any, tmp_path: Path) -> None:
    assert backend.copyfile("data/a.txt", "c:s3://b/dir") == "c:s3://b/dir/a.txt"
    assert backend.copytree_to_local("c:s3://b/dir", tmp_path / "dir") == tmp_path / "dir"
    local = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert local == {"dir/a.txt", "dir/b.txt", "dir/x/c.bin"}
    assert backend.copyfile_to_local("s3://b/a.txt", tmp_path) == tmp_path / "a.txt"
    backend.copytree_from_local(tmp_path / "dir", "s3://b/new")
    backend.copytree("s3://b/new", "s3://b/newer")
    assert sorted(backend.list_dir_or_file("s3://b/newer", list_dir=False, recursive=True)) == [
        "a.txt",
        "b.txt",
        "x/c.bin",
    ]
    with backend.get_local_path("data/a.txt") as path:
        assert Path(path).read_bytes() == b"a"
    assert not Path(path).exists()
    with pytest.raises(SameFileError, match="should not be the same file"):
        backend.copyfile("s3://b/a.txt", "petrel://b/a.txt")


def test_removal(backend: Any) -> None:
    backend.remove("data/a.txt")
    backend.rmtree("c:s3://b/dir")
    assert backend._client.stored == {}
    for read in (
        backend.get,
        backend.remove,
        lambda path: backend.get_local_path(path).__enter__(),
    ):
        with pytest.raises(FileNotFoundError, match=r"a\.txt"):
            read("s3://b/a.txt")


def test_an_older_client(installed: Any) -> None:
    installed.client.Client = OlderClient
    with pytest.raises(NotImplementedError, match="petrel_client has no `delete`"):
        fileio.PetrelBackend().remove("s3://b/a.txt")


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"key": "k"},
            ValueError,
            r"\['key'\] are options of s3fs, but petrel_client is installed",
        ),
        ({"path_mapping": 1}, AssertionError, "path_mapping should be a dict or None, but got 1"),
    ],
    ids=["s3fs options", "path_mapping"],
)
@pytest.mark.usefixtures("installed")
def test_wrong_options(options: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fileio.PetrelBackend(**options)
