"""The ``{{ ... }}`` macros that MMEngine lays over config text, whatever its language."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from .errors import ConfigKeyError, Site

_FILE_VARIABLE = re.compile(
    r"\{\{\s*(fileDirname|fileBasenameNoExtension|fileBasename|fileExtname)\s*\}\}"
)
_ENVIRONMENT_VARIABLE = re.compile(r"\{\{['\"]?\s*\$(\w+)\s*:\s*(\S*?)\s*['\"]?\}\}")
BASE_VARIABLE = re.compile(r"\{\{\s*_base_\.([\w.]+)\s*\}\}")

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
    values = {
        "fileDirname": os.path.dirname(filename),
        "fileBasename": path.name,
        "fileBasenameNoExtension": path.stem,
        "fileExtname": path.suffix,
    }
    quotes = _QUOTES.get(path.suffix, {})
    return _FILE_VARIABLE.sub(
        lambda match: values[match[1]].replace("\\", "/").translate(quotes), text
    )


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
    if "{{" not in text:
        return text, used

    def value(match: re.Match) -> str:
        name, default = match.groups()
        if name in environ:
            used[name] = environ[name]
        if not (found := environ.get(name, default)):
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigKeyError(
                f"The environment variable {name!r} is not set. "
                f"Set it, or give a default: {{{{${name}:default}}}}.",
                Site(filename, line),
            )
        return found

    return _ENVIRONMENT_VARIABLE.sub(value, text), used
