"""One config file: the bases it names and the values it defines, in any format."""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from mm2pl.errors import add_note

from .computed_base import DEFINITIONS, IMPORTS, bound_names, computed_base, is_literal
from .config_dict import ConfigDict
from .errors import (
    ConfigError,
    ConfigFileNotFoundError,
    ConfigFormatError,
    ConfigNameError,
    ConfigParsingError,
    ConfigSyntaxError,
    ConfigTypeError,
    Site,
    locate_error,
)
from .merge import copy_tree
from .placeholders import BASE_VARIABLE
from .source import BASE_KEY, compiled_source, read_source

if TYPE_CHECKING:
    from .safe import Sandbox

FORMATS = (".py", ".json", ".yaml", ".yml")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A config file that has been read but not run.

    Attributes:
        bases: The files it inherits from, each with the line that names it.
        run: Takes the merged bases, returns the values of this file alone; no container of the
            result occurs in it twice or belongs to the bases.
    """

    bases: list[tuple[str, int]]
    run: Callable[[ConfigDict], ConfigDict]


def find_file(filename: str, sandbox: Sandbox | None = None) -> str:
    """Return the absolute path of a config.

    Raises:
        ConfigFileNotFoundError: It does not exist; close names in its folder are suggested.
        ConfigFormatError: Its suffix is unknown.
    """
    path = os.path.abspath(os.path.expanduser(filename))
    if sandbox:
        sandbox.check_base(path)
    if not os.path.isfile(path):
        folder, name = os.path.split(path)
        raise ConfigFileNotFoundError(
            f"The config file {path} does not exist.",
            key=name,
            accepted=os.listdir(folder) if os.path.isdir(folder) else (),
        )
    if os.path.splitext(path)[1] not in FORMATS:
        raise ConfigFormatError(f"{path} is not a config: {', '.join(FORMATS)} are read.")
    return path


def read_text(path: str, sandbox: Sandbox | None = None) -> str:
    """Return the text of a config.

    Raises:
        ConfigFormatError: It cannot be read or is not UTF-8.
    """
    if sandbox:
        return sandbox.read_text(path)
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigFormatError(f"The config cannot be read: {error}", Site(path)) from error


def python_document(
    text: str,
    filename: str,
    lazy_import: bool | None,
    sandbox: Sandbox | None = None,
    computed_bases: bool = False,
) -> Document:
    """Read a Python config; with ``computed_bases``, one whose ``_base_`` reads variables of its own.

    Raises:
        ConfigParsingError: It is a pure-Python config, and ``lazy_import`` is not False.
    """
    # The interpreter needs the tree, which compiled_source drops.
    read = read_source if sandbox else compiled_source
    source = read(text, filename, any_style=lazy_import is not None)

    def run(base: ConfigDict) -> ConfigDict:
        # MMEngine 0.10.7 sets `__file__` only in pure-Python configs.
        namespace: dict[str, Any] = {BASE_KEY: base, "__file__": filename}
        if sandbox:
            sandbox.run(source.tree, filename, namespace)
        else:
            execute(source.code, filename, namespace)
        return own_values(namespace, filename)

    node = source.bases
    if computed_bases and node is not None and not is_literal(node):
        bases = base_list(computed_base(node, text, filename), (), Site(filename, node.lineno))
    else:
        bases = _python_bases(node, filename, sandbox)
    return Document(bases=bases, run=run)


def execute(code: CodeType, filename: str, namespace: dict[str, Any]) -> None:
    """Run a config's code; what it raises is an error at its line.

    Raises:
        ConfigError: The code fails; the message has the file and line.
    """
    try:
        # One dict as globals and locals: a function that the config defines must find the config's names.
        exec(code, namespace)
    except SystemExit as error:
        raise ConfigParsingError(
            "it ends the program while it is read, as a script does → a config only sets values; a script is run by "
            f"mm2pl run {filename}",
            Site(filename),
        ) from error
    except Exception as error:
        located = locate_error(error, filename)
        if name := _class_of_module(filename):
            add_note(
                located,
                f"The file defines the class {name} and sets no key, as a module does → if it is one, a config names "
                "it in custom_imports=dict(imports=[…]).",
            )
        raise located from error


def _class_of_module(filename: str) -> str:
    """Return the first class of a file that defines classes and sets no key at its top level; else ``""``."""
    try:
        body = ast.parse(read_text(filename)).body
    # A text without a file, or of other Python.
    except (ConfigFormatError, SyntaxError, ValueError):
        return ""
    # Names such as `__all__` are not keys.
    if any(
        not name.startswith("__")
        for statement in body
        if not isinstance(statement, (*IMPORTS, *DEFINITIONS))
        for name in bound_names(statement)
    ):
        return ""
    return next((node.name for node in body if isinstance(node, ast.ClassDef)), "")


def own_values(namespace: dict, filename: str) -> ConfigDict:
    """Return what a config defined: no dunder names, functions, modules or inherited values.

    Raises:
        ConfigError: A value cannot be part of a config.
    """
    values = {
        key: value
        for key, value in namespace.items()
        if key != BASE_KEY
        # The keys of a YAML file may be numbers.
        and not (isinstance(key, str) and key.startswith("__"))
        # As in MMEngine 0.10.7: these are the config's tools, but a class that it defines is a value.
        and not isinstance(value, (FunctionType, ModuleType))
    }
    try:
        return copy_tree(values)
    except Exception as error:  # such as a module or a file handle inside a list
        raise locate_error(error, filename) from error


def _python_bases(
    node: ast.expr | None, filename: str, sandbox: Sandbox | None
) -> list[tuple[str, int]]:
    if node is None:
        return []
    if sandbox:
        value = sandbox.evaluate(node, filename)
    elif is_literal(node):
        value = ast.literal_eval(node)
    else:
        # MMEngine 0.10.7 evaluates the expression alone: other names of the config do not exist yet.
        code = compile(ast.Expression(node), filename, "eval", dont_inherit=True)
        try:
            value = eval(code, {})
        except NameError as error:
            raise ConfigNameError(
                f"_base_ is read before the variables of its file, so {error.name!r} has no value yet → write the "
                "path out",
                Site(filename, node.lineno),
            ) from error
        except Exception as error:
            raise locate_error(error, filename) from error
    lines = [element.lineno for element in getattr(node, "elts", ())]
    return base_list(value, lines, Site(filename, node.lineno))


_NO_PATH = re.compile("[\0\ud800-\udfff]")


def base_list(value: Any, lines: Sequence[int], at: Site) -> list[tuple[str, int]]:
    """Check the value of ``_base_``: one path, or a list of them.

    Raises:
        ConfigTypeError: ``_base_`` is neither a path nor a list of paths.
    """
    paths = list(value) if isinstance(value, (list, tuple)) else [value]
    for path in paths:
        # The system's functions would raise a bare ValueError or UnicodeEncodeError.
        if isinstance(path, str) and _NO_PATH.search(path):
            raise ConfigTypeError(
                f"_base_ contains {path!r}, which is not a path: it holds a null character or a lone surrogate.",
                at,
            )
        if not isinstance(path, str):
            raise ConfigTypeError(
                f"_base_ contains {path!r}; it must be the path of a config, or a list of paths.",
                at,
            )
    # `_base_ = [...] + [...]` has elements, but no expression that lists them.
    if len(lines) != len(paths):
        lines = [at.lineno] * len(paths)
    return list(zip(paths, lines, strict=True))


def data_document(text: str, filename: str, sandbox: Sandbox | None = None) -> Document:
    """Read a YAML or JSON config.

    ``{{ _base_.a.b }}`` becomes a string that no config contains, and later the base's value.

    Raises:
        ConfigError: The text cannot be parsed.
        ConfigTypeError: It holds something else than a dict.
    """
    text = BASE_VARIABLE.sub(lambda match: f'"{_MARK}{match[1]}"', text)
    try:
        # An empty YAML file is None, on which MMEngine 0.10.7 fails.
        data = _parser(filename, sandbox)(text) or {}
    # A refusal of the sandbox is not a mistake in the syntax.
    except ConfigError:
        raise
    except Exception as error:
        raise data_error(error, filename) from error
    if not isinstance(data, dict):
        raise ConfigTypeError(f"A config must be a dict, not {data!r:.80}.", Site(filename))
    bases = base_list(data.pop(BASE_KEY, []), (), Site(filename, _base_line(text)))

    def run(base: ConfigDict) -> ConfigDict:
        try:
            filled = _fill(data, base) if _MARK in text else data
            if sandbox:
                sandbox.budget.walk(filled)
        except Exception as error:
            raise locate_error(error, filename) from error
        return own_values(filled, filename)

    return Document(bases=bases, run=run)


# A character of Unicode's private area: no text of a config looks like this by accident.
_MARK = "\ue000base variable "


def _fill(value: Any, base: ConfigDict | None) -> Any:
    if isinstance(value, dict):
        # MMEngine 0.10.7 replaces values only. In a key or inside a string it leaves a placeholder of its own.
        return {_fill(key, None): _fill(item, base) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_fill(item, base) for item in value)
    if not isinstance(value, str) or _MARK not in value:
        return value
    if base is None or not value.startswith(_MARK):
        raise ConfigParsingError(
            f"{value.replace(_MARK, '{{ _base_.')!r} }}}} is not replaced inside a string or a key. "
            "Write the variable alone, as a value and without quotes."
        )
    found: Any = base
    for name in value.removeprefix(_MARK).split("."):
        found = found[name]
    return found


def _base_line(text: str) -> int:
    lines = text.splitlines()
    return next((n for n, line in enumerate(lines, 1) if BASE_KEY in line), 0)


def data_error(error: Exception, filename: str) -> ConfigSyntaxError:
    """Return a syntax error at the line that PyYAML or json reports."""
    mark = getattr(error, "problem_mark", None)
    # PyYAML counts lines from 0, json from 1.
    line = mark.line + 1 if mark else getattr(error, "lineno", 0)
    message = getattr(error, "problem", None) or getattr(error, "msg", None) or str(error)
    return ConfigSyntaxError(message, Site(filename, line))


def _parser(filename: str, sandbox: Sandbox | None) -> Callable[[str], Any]:
    if filename.endswith(".json"):
        return sandbox.parse_json if sandbox else json.loads
    return sandbox.parse_yaml if sandbox else _parse_yaml


def _parse_yaml(text: str) -> Any:
    import yaml

    # FullLoader reads tuples and calls no code. MMEngine's Loader runs `!!python/object/apply`.
    return yaml.load(text, getattr(yaml, "CFullLoader", yaml.FullLoader))
