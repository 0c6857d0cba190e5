from __future__ import annotations

import http.server
import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mm2pl import fileio
from mm2pl.fileio import FsspecBackend, LocalBackend, MemoryBackend
from mm2pl.fileio.backends import backends, prefix_to_backends
from mm2pl.fileio.backends.local import atomic_open


@pytest.fixture(params=["local", "memory", "file"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Any, str]]:
    """A backend, and the path or URL of an empty folder that it reaches."""
    if request.param == "local":
        yield LocalBackend(), str(tmp_path)
    elif request.param == "file":
        yield FsspecBackend(), tmp_path.as_uri()
    else:
        yield MemoryBackend(), "memory://place"
        from fsspec.implementations.memory import MemoryFileSystem

        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]


def test_put_and_get(place: tuple[Any, str]) -> None:
    backend, root = place
    path = backend.join_path(root, "new", "folder", "a.txt")
    backend.put(b"\x00\xff", path)
    assert backend.get(path) == b"\x00\xff"
    backend.put_text("grüße\n", path)
    assert backend.get_text(path) == "grüße\n"
    assert backend.get(path) == "grüße\n".encode()
    backend.put_text("grüße", path, "latin-1")
    assert backend.get_text(path, "latin-1") == "grüße"
    assert backend.exists(path)
    assert backend.isfile(path)
    assert not backend.isdir(path)
    assert backend.isdir(backend.join_path(root, "new"))
    assert not backend.exists(path + "x")
    with backend.get_local_path(path) as local:
        assert Path(str(local)).read_bytes() == "grüße".encode("latin-1")
        assert str(local).endswith("a.txt")
    with pytest.raises(FileNotFoundError, match="nothing"):
        backend.get(backend.join_path(root, "nothing"))


def fill(backend: Any, root: str) -> str:
    tree = backend.join_path(root, "tree")
    for name in ("a.txt", "b.bin", "sub/c.txt", "sub/deep/d.txt", ".hidden", ".dir/e.txt"):
        backend.put_text(name, backend.join_path(tree, name))
    return tree


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"a.txt", "b.bin", "sub", ".dir"}),
        ({"list_dir": False}, {"a.txt", "b.bin"}),
        ({"list_file": False}, {"sub", ".dir"}),
        ({"list_file": False, "recursive": True}, {"sub", "sub/deep", ".dir"}),
        ({"list_dir": False, "suffix": ".txt"}, {"a.txt"}),
        (
            {"list_dir": False, "suffix": (".txt", "bin"), "recursive": True},
            {"a.txt", "b.bin", "sub/c.txt", "sub/deep/d.txt", ".dir/e.txt"},
        ),
    ],
)
def test_listing(place: tuple[Any, str], options: dict[str, Any], expected: set[str]) -> None:
    backend, root = place
    found = list(backend.list_dir_or_file(fill(backend, root), **options))
    assert sorted(found) == sorted(expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"suffix": ".txt"}, "`suffix` should be None when `list_dir` is True"),
        ({"suffix": 1, "list_dir": False}, "`suffix` must be a string or tuple of strings"),
    ],
)
def test_wrong_listing(place: tuple[Any, str], options: dict, message: str) -> None:
    backend, root = place
    with pytest.raises(TypeError, match=message):
        backend.list_dir_or_file(root, **options)


def test_copying(place: tuple[Any, str], tmp_path: Path) -> None:
    backend, root = place
    tree = fill(backend, root)
    join = partial(backend.join_path, root)
    source = backend.join_path(tree, "a.txt")
    assert backend.copyfile(source, join("copy.txt")) == join("copy.txt")
    assert backend.copyfile(source, backend.join_path(tree, "sub")).endswith("sub/a.txt")
    backend.copytree(tree, join("tree2"))
    assert backend.get_text(join("tree2", "sub", "deep", "d.txt")) == "sub/deep/d.txt"
    with pytest.raises(FileExistsError, match="tree2"):
        backend.copytree(tree, join("tree2"))
    local = tmp_path / "outside"
    local.mkdir()
    assert str(backend.copyfile_to_local(source, local)).endswith("outside/a.txt")
    assert (local / "a.txt").read_text() == "a.txt"
    backend.copytree_to_local(tree, local / "tree")
    assert (local / "tree" / "sub" / "c.txt").read_text() == "sub/c.txt"
    assert backend.copyfile_from_local(local / "a.txt", join("back.txt")) == join("back.txt")
    assert backend.copyfile_from_local(local / "a.txt", tree).endswith("tree/a.txt")
    backend.copytree_from_local(local / "tree", join("tree3"))
    assert backend.get_text(join("back.txt")) == "a.txt"
    assert backend.get_text(join("tree3", "sub", "c.txt")) == "sub/c.txt"


def test_removing(place: tuple[Any, str]) -> None:
    backend, root = place
    tree = fill(backend, root)
    backend.remove(backend.join_path(tree, "a.txt"))
    assert not backend.exists(backend.join_path(tree, "a.txt"))
    with pytest.raises(FileNotFoundError, match=r"a.txt does not exist"):
        backend.remove(backend.join_path(tree, "a.txt"))
    with pytest.raises(IsADirectoryError, match=r"should be a file, but .*tree is a folder"):
        backend.remove(tree)
    backend.rmtree(tree)
    assert not backend.exists(tree)


def test_links(place: tuple[Any, str]) -> None:
    backend, root = place
    tree = fill(backend, root)
    join = partial(backend.join_path, root)
    linked = backend.copy_if_symlink_fails(backend.join_path(tree, "a.txt"), join("link.txt"))
    assert linked is (type(backend) is LocalBackend) is backend.allow_symlink
    assert backend.get_text(join("link.txt")) == "a.txt"
    backend.copy_if_symlink_fails(tree, join("links"))
    assert backend.get_text(join("links", "sub", "c.txt")) == "sub/c.txt"


def test_a_copy_where_links_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*args: Any) -> None:
        raise OSError

    monkeypatch.setattr(os, "symlink", no_links)
    (tmp_path / "a").write_text("x")
    assert LocalBackend().copy_if_symlink_fails(tmp_path / "a", tmp_path / "b") is False
    assert (tmp_path / "b").read_text() == "x"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("s3://bucket/a", "b", "c"), "s3://bucket/a/b/c"),
        (("s3://bucket/a/", "/b/", "c/"), "s3://bucket/a/b/c"),
        (("memory://", "b"), "memory://b"),
        (("file:///data/a", "b"), "file:///data/a/b"),
        (("file:///", "b"), "file:///b"),
    ],
)
def test_join_url(parts: tuple[str, ...], expected: str) -> None:
    assert FsspecBackend().join_path(*parts) == expected


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail() -> None:
        with atomic_open(path, "w") as file:
            file.write("half of the new")
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_links_and_modes_survive_a_write(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    LocalBackend().put_text("new", link)
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_device_is_not_replaced() -> None:
    LocalBackend().put(b"x", os.devnull)
    assert not Path(os.devnull).is_file()


def test_a_kill_while_writing_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    code = (
        "import itertools, sys\n"
        "from mm2pl.fileio import LocalBackend\n"
        "for k in itertools.count():\n"
        "    LocalBackend().put(bytes([k % 256]) * 3_000_000, sys.argv[1])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)])
    deadline = time.time() + 60
    while not path.exists() and time.time() < deadline:
        time.sleep(0.02)
    time.sleep(0.05)
    process.kill()
    process.wait()
    content = path.read_bytes()
    assert len(content) == 3_000_000
    assert len(set(content)) == 1


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "a.json").write_text('{"a": 1}')

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    served = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    )
    thread = threading.Thread(target=served.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{served.server_port}"
    served.shutdown()
    served.server_close()
    thread.join()


def test_http(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert fileio.get_text(f"{server}/a.json") == '{"a": 1}'
    assert fileio.load(f"{server}/a.json") == {"a": 1}
    assert fileio.exists(f"{server}/a.json")
    assert not fileio.exists(f"{server}/b.json")
    with fileio.get_local_path(f"{server}/a.json") as local:
        assert Path(str(local)).read_text() == '{"a": 1}'
    assert not Path(str(local)).exists()
    with pytest.raises(FileNotFoundError, match=r"b\.json"):
        fileio.get(f"{server}/b.json")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        ("petrel://bucket/a/b", "s3://bucket/a/b"),
        ("cluster:s3://bucket/a/b", "s3://bucket/a/b"),
        ("data/coco/a", "s3://openmmlab/coco/a"),
    ],
)
def test_petrel_is_s3(url: str, expected: str) -> None:
    backend = fileio.PetrelBackend(path_mapping={"data/": "s3://openmmlab/"})
    assert backend._url(url) == expected


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: fileio.PetrelBackend(conf_path="x"), ValueError, "give key=, secret= and"),
        (lambda: fileio.MemcachedBackend("a", "b"), ImportError, "needs the package `mc`"),
        (lambda: backends["lmdb"]("db"), ImportError, 'Please run "pip install lmdb"'),
    ],
)
def test_what_cannot_be_had(make: Any, kind: type[Exception], message: str, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(kind, match=message):
        make()


def test_lmdb(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    class Database:
        def begin(self, write: bool) -> Any:
            return self

        def __enter__(self) -> dict[bytes, bytes]:
            return {b"key": b"value"}

        def __exit__(self, *error: object) -> None: ...

    class Lmdb:
        @staticmethod
        def open(path: str, **options: Any) -> Database:
            opened.append((path, options))
            return Database()

    monkeypatch.setitem(sys.modules, "lmdb", Lmdb)
    backend = fileio.get_file_backend(backend_args={"backend": "lmdb", "db_path": "db"})
    assert opened == []
    assert (backend.get("key"), backend.get_text("key")) == (b"value", "value")
    assert backend.get("other") is None
    with pytest.raises(KeyError, match="db has no key 'other'"):
        backend.get_text("other")
    assert opened == [("db", {"readonly": True, "lock": False, "readahead": False})]


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (backends, prefix_to_backends):
        for key in list(table):
            monkeypatch.setitem(table, key, table[key])
        monkeypatch.setitem(table, "toy", None)
        monkeypatch.delitem(table, "toy")


@pytest.mark.usefixtures("tables")
def test_register_backend() -> None:
    @fileio.register_backend("toy", prefixes="toy")
    class ToyBackend(LocalBackend):
        pass

    assert isinstance(fileio.get_file_backend("toy://x"), ToyBackend)
    assert isinstance(fileio.get_file_backend(backend_args={"backend": "toy"}), ToyBackend)
    with pytest.raises(ValueError, match=r'toy is already registered.*add "force=True"'):
        fileio.register_backend("toy", ToyBackend)
    with pytest.raises(ValueError, match="toy is already registered as a storage backend"):
        fileio.register_backend("other", ToyBackend, prefixes=("toy",))
    assert "other" not in backends
    fileio.register_backend("toy", LocalBackend, force=True, prefixes=["toy"])
    assert type(fileio.get_file_backend("toy://x")) is LocalBackend


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        (
            (1, LocalBackend),
            TypeError,
            "the backend name should be a string, but got <class 'int'>",
        ),
        (("x", LocalBackend()), TypeError, "backend should be a class, but got"),
        (("x", dict), TypeError, "is not a subclass of BaseStorageBackend"),
        (("x", LocalBackend, False, 1), AssertionError, "prefixes should be a str, list or tuple"),
    ],
)
def test_wrong_backends(arguments: tuple, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        fileio.register_backend(*arguments)


def test_memcached_by_its_client(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = {"key": b"value"}

    class Connected:
        def __init__(self, server_list_cfg: str, client_cfg: str) -> None:
            self.settings = (server_list_cfg, client_cfg)

        def Get(self, key: str, buffer: list[bytes]) -> None:
            buffer[:] = [stored[key]]

    client = SimpleNamespace(
        MemcachedClient=SimpleNamespace(GetInstance=Connected),
        pyvector=list,
        ConvertBuffer=lambda buffer: buffer[0],
    )
    monkeypatch.setitem(sys.modules, "mc", client)
    monkeypatch.setattr(sys, "path", [])
    backend = fileio.MemcachedBackend("servers.conf", "mc.conf", sys_path="/opt/mc")
    assert backend._client.settings == ("servers.conf", "mc.conf")
    assert (backend.get(Path("key")), sys.path) == (b"value", ["/opt/mc"])
    with pytest.raises(NotImplementedError, match="decode what `get` returns"):
        backend.get_text("key")


def test_http_reads_web_addresses_only(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"a\.txt' is not a web address .*: leave backend='http' out"
    ):
        fileio.get(tmp_path / "a.txt", backend_args={"backend": "http"})
