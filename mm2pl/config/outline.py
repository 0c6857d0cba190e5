"""The keys of a config, read from the text of its files: nothing of it runs."""

from __future__ import annotations

import os

from .computed_base import DEFINITIONS, IMPORTS, bound_names
from .config_dict import ConfigDict
from .document import find_file, read_text
from .errors import ConfigError
from .loader import Options, expand, read_document
from .packages import package_config
from .source import parse


def outlined_keys(path: str) -> set[str]:
    """Return the names that a config and all its ``_base_`` files set, as far as their texts tell.

    A statement that may not run, such as one under ``if``, counts; what cannot be read does not.
    """
    keys: set[str] = set()
    # By file: a base that two configs name is read once, and a cycle ends.
    seen: set[str] = set()
    waiting = [path]
    while waiting:
        try:
            found = find_file(waiting.pop())
            if found not in seen:
                seen.add(found)
                waiting += _outline(found, keys)
        except ConfigError:
            continue  # who reads the config says what is wrong
    return keys


def _outline(path: str, keys: set[str]) -> list[str]:
    """Add the names that one file sets; return the files that it inherits from."""
    # A `_base_` that is an expression would be evaluated; computed ones are interpreted.
    options = Options(computed_bases=True)
    text, _ = expand(read_text(path), path, options)
    if path.endswith(".py"):
        for statement in parse(text, path).body:
            if not isinstance(statement, (*IMPORTS, *DEFINITIONS)):
                keys |= bound_names(statement)
    document = read_document(text, path, options)
    if not path.endswith(".py"):
        keys |= {str(key) for key in document.run(ConfigDict())}
    return [_file(base, path) for base, _ in document.bases]


def _file(base: str, path: str) -> str:
    if "::" in base:
        return package_config(base)[0]
    return os.path.join(os.path.dirname(path), base)
