from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mm2pl import fileio
from mm2pl.fileio import BaseFileHandler, FsspecBackend, HTTPBackend, LocalBackend
from mm2pl.fileio.handlers import file_handlers

DATA = {"a": [1, 2.5, None], "b": {"c": "grüße"}}


@pytest.mark.parametrize("suffix", ["json", "yaml", "yml", "pkl", "pickle"])
@pytest.mark.parametrize("as_path", [str, Path])
def test_files_of_all_formats(tmp_path: Path, suffix: str, as_path: Any) -> None:
    path = as_path(tmp_path / f"new/a.{suffix}")
    assert fileio.dump(DATA, path) is None
    assert fileio.load(path) == DATA
    other = as_path(tmp_path / "a.dat")
    fileio.dump(DATA, other, file_format=suffix)
    assert fileio.load(other, file_format=suffix) == DATA


@pytest.mark.parametrize("suffix", ["json", "yaml", "pkl"])
def test_open_files_and_strings(tmp_path: Path, suffix: str) -> None:
    stream: Any = io.BytesIO() if suffix == "pkl" else io.StringIO()
    fileio.dump(DATA, stream, file_format=suffix)
    stream.seek(0)
    assert fileio.load(stream, file_format=suffix) == DATA
    assert fileio.dump(DATA, file_format=suffix) == stream.getvalue()
    handler = file_handlers[suffix]
    handler.dump_to_path(DATA, str(tmp_path / "x"))
    assert handler.load_from_path(str(tmp_path / "x")) == DATA


def test_json_knows_numpy_and_options() -> None:
    data = {"a": np.arange(2), "b": np.float32(0.5), "c": {1}, "d": range(2)}
    assert fileio.dump(data, file_format="json") == '{"a": [0, 1], "b": 0.5, "c": [1], "d": [0, 1]}'
    assert fileio.dump({"b": 1, "a": 2}, file_format="json", sort_keys=True) == '{"a": 2, "b": 1}'
    with pytest.raises(TypeError, match="<class 'object'> is unsupported for json dump"):
        fileio.dump(object(), file_format="json")


def test_yaml_reads_tuples_but_runs_nothing(tmp_path: Path) -> None:
    assert fileio.load(io.StringIO(fileio.dump((1, 2), file_format="yaml")), "yaml") == (1, 2)
    attack = "!!python/object/apply:os.mkdir ['" + str(tmp_path / "made") + "']"
    with pytest.raises(yaml.constructor.ConstructorError, match="could not determine a constr"):
        fileio.load(io.StringIO(attack), "yaml")
    assert not (tmp_path / "made").exists()
    fileio.load(io.StringIO(attack), "yaml", Loader=yaml.UnsafeLoader)
    assert (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: fileio.load("a.txt"), TypeError, "Unsupported format: txt, choose from json"),
        (
            lambda: fileio.load(1, "json"),
            TypeError,
            '"file" must be a filepath str or a file-object',
        ),
        (lambda: fileio.load(1), TypeError, "Unsupported format: None"),
        (lambda: fileio.dump(1), ValueError, "file_format must be specified since file is None"),
        (lambda: fileio.dump(1, 2, "json"), TypeError, '"file" must be a filename str or'),
        (lambda: fileio.load("nothing.json"), FileNotFoundError, "nothing.json"),
        (lambda: fileio.get_file_backend(), ValueError, "uri should not be None when"),
        (lambda: fileio.get_file_backend(1), AssertionError, "uri should be a string or a Path"),
        (
            lambda: fileio.get_file_backend("memx://a"),
            ValueError,
            "There is no storage backend 'memx': choose from local, memcached",
        ),
        (
            lambda: fileio.get_file_backend("a", backend_args={"backend": "nowhere"}),
            ValueError,
            "There is no storage backend 'nowhere': choose from local, memcached",
        ),
    ],
)
def test_wrong_calls(call: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_register_handler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for suffix in ("up", "upper"):
        monkeypatch.setitem(file_handlers, suffix, None)  # type: ignore[arg-type]

    @fileio.register_handler(["up", "upper"], end="!")
    class Upper(BaseFileHandler):
        def __init__(self, end: str) -> None:
            self.end = end

        def load_from_fileobj(self, file: Any, **kwargs: Any) -> str:
            return file.read().removesuffix(self.end).lower()

        def dump_to_fileobj(self, obj: str, file: Any, **kwargs: Any) -> None:
            file.write(self.dump_to_str(obj))

        def dump_to_str(self, obj: str, **kwargs: Any) -> str:
            return obj.upper() + self.end

    fileio.dump("abc", tmp_path / "a.up")
    assert (tmp_path / "a.up").read_text() == "ABC!"
    assert fileio.load(tmp_path / "a.up") == "abc"
    assert fileio.dump("abc", file_format="upper") == "ABC!"


@pytest.mark.parametrize(
    ("formats", "handler", "message"),
    [
        (1, BaseFileHandler, "file_formats must be a str or a list of str"),
        ("x", dict, "a child of"),
    ],
)
def test_wrong_handlers(formats: Any, handler: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        fileio.register_handler(formats)(handler)
    assert "x" not in file_handlers


@pytest.mark.parametrize(
    ("uri", "args", "expected"),
    [
        ("a/b", None, LocalBackend),
        (Path("a/b"), {}, LocalBackend),
        ("https://a/b", None, HTTPBackend),
        ("memory://a", None, fileio.MemoryBackend),
        ("ftp://host/a", None, FsspecBackend),
        ("simplecache::s3://a", None, FsspecBackend),
        ("https://a/b", {"backend": "local"}, LocalBackend),
        (None, {"backend": "local"}, LocalBackend),
        ("x", {"backend": "memory"}, fileio.MemoryBackend),
        ("x", {"backend": "zip"}, FsspecBackend),
    ],
)
def test_which_backend(uri: Any, args: Any, expected: type) -> None:
    before = None if args is None else dict(args)
    assert type(fileio.get_file_backend(uri, backend_args=args)) is expected
    assert args == before


def test_shared_backends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mm2pl.fileio.io.backend_instances", {})
    shared = [fileio.get_file_backend(p, enable_singleton=True) for p in ("a", "b/c", Path("d"))]
    assert shared[0] is shared[1] is shared[2]
    assert fileio.get_file_backend("a") is not shared[0]
    assert fileio.get_file_backend("a", backend_args={"backend": "local"}) is not shared[0]


def test_functions_choose_the_backend_by_their_path(tmp_path: Path) -> None:
    for root in (str(tmp_path), "memory://functions"):
        join = fileio.join_path
        path = join(root, "sub", "a.txt")
        fileio.put(b"x", path)
        assert fileio.get(path) == b"x"
        fileio.put_text("text", path)
        assert fileio.get_text(path) == "text"
        assert fileio.exists(path)
        assert fileio.isfile(path)
        assert fileio.isdir(join(root, "sub"))
        assert list(fileio.list_dir_or_file(root)) == ["sub"]
        fileio.copyfile(path, join(root, "b.txt"))
        fileio.copytree(join(root, "sub"), join(root, "sub2"))
        local = tmp_path / f"local{len(root)}.txt"
        fileio.copyfile_to_local(path, local)
        fileio.copyfile_from_local(local, join(root, "c.txt"))
        fileio.copytree_to_local(join(root, "sub"), tmp_path / f"t{len(root)}")
        fileio.copytree_from_local(tmp_path / f"t{len(root)}", join(root, "sub3"))
        fileio.copy_if_symlink_fails(path, join(root, "d.txt"))
        for name in ("b.txt", "c.txt", "d.txt", "sub2/a.txt", "sub3/a.txt"):
            assert fileio.get_text(join(root, name)) == "text"
        with fileio.get_local_path(path) as local_path:
            assert Path(str(local_path)).read_text() == "text"
        fileio.remove(path)
        fileio.rmtree(join(root, "sub"))
        assert not fileio.exists(path)


def test_presigned_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    def sign(self: Any, path: str, expiration: int, client_method: str) -> str:
        return f"{path}?{client_method}&{expiration}"

    monkeypatch.setattr(MemoryFileSystem, "sign", sign)
    assert fileio.generate_presigned_url("memory://a", expires_in=5) == "/a?get_object&5"


def test_importing_is_light() -> None:
    heavy = {"torch", "numpy", "fsspec", "yaml", "aiohttp"}
    code = f"import mm2pl.fileio, sys; print(sorted({heavy!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
