"""The ``{{ ... }}`` macros that MMEngine lays over config text of any language."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from .errors import ConfigKeyError, Site

BASE_VARIABLE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")
# Bounded, and never across another macro: a hostile text must not make the search quadratic.
_MACRO = re.compile(r"\{\{(?!\{)((?:(?!\{\{).){1,1000}?)\}\}", re.DOTALL)

# A quote in the path of a config must not end the string that the macro stands in.
_QUOTES = {
    ".py": str.maketrans({"'": r"\x27", '"': r"\x22", "\n": r"\n"}),
    ".json": str.maketrans({'"': r"\u0022", "\n": r"\n"}),
}


def expand_file_variables(text: str, filename: str) -> str:
    """Replace ``{{ fileDirname }}``, ``fileBasename``, ``fileBasenameNoExtension``, ``fileExtname``.

    >>> expand_file_variables("work_dir = './{{ fileBasenameNoExtension }}'", "/configs/a.py")
    "work_dir = './a'"
    """
    if "{{" not in text:
        return text
    path = Path(filename)
    quotes = _QUOTES.get(path.suffix, {})
    values = {
        "fileDirname": os.path.dirname(filename),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }

    def value(body: str, line: int) -> str | None:
        found = values.get(body.strip())
        # As MMEngine 0.10.7: a backslash of a Windows path would begin an escape.
        return None if found is None else found.replace("\\", "/").translate(quotes)

    return _expand(text, value)


def expand_environment(
    text: str, filename: str, environ: Mapping[str, str]
) -> tuple[str, dict[str, str]]:
    """Replace ``{{$NAME:default}}`` by a variable's text, or by the default.

    The quoted form ``{{'$NAME:default'}}`` is replaced together with its quotes, so that a number
    stays one.

    Returns:
        The new text, and the variables that were found in ``environ``.

    Raises:
        ConfigKeyError: The variable is not set and there is no default.
    """
    used: dict[str, str] = {}

    def value(body: str, line: int) -> str | None:
        name, default = _variable(body)
        if name is None:
            return None
        if name in environ:
            used[name] = environ[name]
        # As in MMEngine 0.10.7, an empty variable counts as not set, and the default does not stand in for it.
        if not (found := environ.get(name, default)):
            raise ConfigKeyError(
                f"The environment variable {name!r} is not set. "
                f"Set it, or give a default: {{{{${name}:default}}}}.",
                Site(filename, line),
            )
        return found

    return _expand(text, value), used


def _expand(text: str, value: Callable[[str, int], str | None]) -> str:
    """Replace each macro by ``value(body, line)``, unless that is None."""
    if "{{" not in text:
        return text

    def replace(match: re.Match) -> str:
        found = value(match[1], text.count("\n", 0, match.start()) + 1)
        return match[0] if found is None else found

    return _MACRO.sub(replace, text)


def _variable(body: str) -> tuple[str | None, str]:
    """Return name and default of ``$NAME:default``, or None if the macro is something else."""
    # MMEngine's pattern accepts a quote at either end, even one without its partner.
    body = body[1:] if body[:1] in ("'", '"') else body
    body = body[:-1] if body[-1:] in ("'", '"') else body
    name, colon, default = body.strip().partition(":")
    name, default = name.rstrip(), default.strip()
    # MMEngine's pattern allows no space in a default. Such a text is not a macro there and stays.
    if not colon or not re.fullmatch(r"\$\w+", name) or any(map(str.isspace, default)):
        return None, ""
    return name[1:], default
