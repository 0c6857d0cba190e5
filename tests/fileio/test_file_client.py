from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mm2pl import fileio
from mm2pl.fileio import FileClient, HardDiskBackend, LocalBackend


@pytest.fixture(autouse=True)
def tables(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    for name in ("_backends", "_prefix_to_backends"):
        monkeypatch.setattr(FileClient, name, dict(getattr(FileClient, name)))
    monkeypatch.setattr(FileClient, "_instances", {})
    return capsys


def test_a_client_is_its_backend(tmp_path: Path) -> None:
    client = FileClient()
    path = tmp_path / "a.txt"
    client.put_text("x", path)
    assert client.get(path) == b"x"
    assert client.get_text(path) == "x"
    assert client.isfile(path)
    assert client.name == "HardDiskBackend"
    assert client.allow_symlink
    assert list(client.list_dir_or_file(tmp_path)) == ["a.txt"]
    with client.get_local_path(path) as local:
        assert Path(local).read_text() == "x"
    with pytest.raises(AttributeError, match="no_such_method"):
        client.no_such_method()


def test_clients_are_shared(tables: Any) -> None:
    assert FileClient() is FileClient("disk")
    assert FileClient("http") is not FileClient(prefix="http")
    assert FileClient.infer_client({"backend": "disk"}) is FileClient("disk")
    assert isinstance(FileClient.infer_client(uri="https://a/b").client, fileio.HTTPBackend)
    assert isinstance(FileClient.infer_client(uri="a/b").client, HardDiskBackend)
    assert tables.readouterr().out.count("will be deprecated in future") == 1


@pytest.mark.parametrize(
    ("uri", "expected"), [("a/b", None), ("s3://a", "s3"), ("cluster:s3://a", "s3")]
)
def test_parse_uri_prefix(uri: str, expected: str | None) -> None:
    assert FileClient.parse_uri_prefix(uri) == expected


def test_registered_backends() -> None:
    @FileClient.register_backend("toy", prefixes=["toy", "t"])
    class Toy(LocalBackend):
        pass

    first = FileClient("toy")
    assert isinstance(first.client, Toy)
    assert isinstance(FileClient(prefix="t").client, Toy)
    with pytest.raises(KeyError, match=r"^toy .*is already registered as a storage backend"):
        FileClient.register_backend("toy", Toy)
    FileClient.register_backend("toy", LocalBackend, force=True)
    assert type(FileClient("toy").client) is LocalBackend


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: FileClient("nowhere"), ValueError, "Backend nowhere is not supported"),
        (lambda: FileClient(prefix="nowhere"), ValueError, "prefix nowhere is not supported"),
        (lambda: FileClient.infer_client(), AssertionError, "needs file_client_args or a uri"),
        (lambda: FileClient.register_backend("x", dict), TypeError, "is not a subclass"),
    ],
)
def test_wrong_clients(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_load_and_dump_take_the_older_arguments(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for call in (
        lambda: fileio.dump([1], path, file_client_args={"backend": "disk"}),
        lambda: fileio.load(path, file_client_args={"backend": "disk"}),
    ):
        with pytest.warns(DeprecationWarning, match='Please use "backend_args" instead'):
            result = call()
    assert result == [1]
