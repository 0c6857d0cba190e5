from __future__ import annotations

import time

import pytest

from mm2pl.config.errors import ConfigKeyError
from mm2pl.config.placeholders import expand_environment, expand_file_variables

FILE = "/configs/net/a.b.py"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{ fileDirname }}|{{fileBasename}}", "/configs/net|a.b.py"),
        ("{{\tfileBasenameNoExtension\n}}{{ fileExtname }}", "a.b.py"),
        ("{{ fileName }} {{ _base_.x }} {{$A:1}} { {fileDirname}}", None),
        ("{{{{ fileExtname }}}}", "{{.py}}"),
        ("no macro", None),
    ],
)
def test_file_variables(text: str, expected: str | None) -> None:
    assert expand_file_variables(text, FILE) == (text if expected is None else expected)


@pytest.mark.parametrize(
    ("filename", "expected"),
    [
        ("/o'b/a.py", r"x = '/o\x27b'"),
        ('/o"b/a.json', r"x = '/o\u0022b'"),
        ("/o'b/a.yaml", "x = '/o'b'"),
        ("C:\\x\\a.py", "x = ''"),
    ],
)
def test_quotes_in_paths(filename: str, expected: str) -> None:
    assert expand_file_variables("x = '{{ fileDirname }}'", filename) == expected


ENVIRONMENT = {
    "x = {{$A:1}}": ("x = set", {"A": "set"}),
    "x = {{'$A:1'}}": ("x = set", {"A": "set"}),
    'x = {{"$A:1"}}': ("x = set", {"A": "set"}),
    "x = {{ $B : 80 }}": ("x = 80", {}),
    "x = {{'$B:80'}}": ("x = 80", {}),
    "x = '{{$B:/a/b.c+d(e)}}/f'": ("x = '/a/b.c+d(e)/f'", {}),
    "{{$A:1}}{{$A:2}}{{$B:3}}{{$B:4}}": ("setset34", {"A": "set"}),
    "{{$A:}}": ("set", {"A": "set"}),
    "{{$B:a b}} {{$B}} {{A:1}} {{ _base_.x }}": ("{{$B:a b}} {{$B}} {{A:1}} {{ _base_.x }}", {}),
}


@pytest.mark.parametrize(("text", "expected"), ENVIRONMENT.items(), ids=ENVIRONMENT)
def test_environment(text: str, expected: tuple[str, dict]) -> None:
    assert expand_environment(text, FILE, {"A": "set"}) == expected


@pytest.mark.parametrize("text", ["\n{{$B:}}", "\n{{'$B:'}}"])
def test_missing_variables(text: str) -> None:
    with pytest.raises(ConfigKeyError, match=rf"{FILE}:2: The environment variable 'B' is not set"):
        expand_environment(text, FILE, {})


@pytest.mark.parametrize("text", ["{{$a:" * 20_000, "{{$a:" + " " * 200_000, "{{" * 100_000])
def test_the_search_is_not_quadratic(text: str) -> None:
    start = time.process_time()
    assert expand_environment(expand_file_variables(text, FILE), FILE, {}) == (text, {})
    assert time.process_time() - start < 5  # milliseconds; minutes if it were
