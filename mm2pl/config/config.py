"""The ``Config`` object: read, edit, print and write config files."""

from __future__ import annotations

import copy
import difflib
import os
import warnings
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mm2pl.errors import unwritten
from mm2pl.fileio import dump
from mm2pl.logging import print_log

from .arguments import DictAction as DictAction
from .arguments import add_args as add_args
from .config_dict import DELETE_KEY as DELETE_KEY
from .config_dict import ConfigDict as ConfigDict
from .config_dict import keep_lazy
from .custom_imports import import_listed_modules
from .document import FORMATS, find_file, read_text
from .errors import (
    ConfigFormatError,
    ConfigKeyError,
    ConfigTypeError,
    reached_by,
)
from .loader import DEPRECATION_KEY as DEPRECATION_KEY
from .loader import Options, expand, load_text
from .merge import merge_dicts
from .printer import format_config
from .pure_python import load_pure_text
from .source import BASE_KEY as BASE_KEY
from .source import is_pure_python, parse

if TYPE_CHECKING:
    from .safe import Sandbox

# Config has a property of each name: a key of that name could not be read as an attribute.
RESERVED_KEYS = ["filename", "text", "pretty_text", "env_variables"]
# In the order of MMEngine 0.10.7's pickled state: a Config that was pickled there loads here.
_FIELDS = (
    "_cfg_dict",
    "_filename",
    "_text",
    "_env_variables",
    "_format_python_code",
    "_imported_names",
)


class Config:
    """Hold a config and where it came from; its keys are attributes and items.

    Args:
        cfg_dict: The values.
        cfg_text: Text they were read from; read from ``filename`` if not given.
        filename: File they were read from.
        env_variables: Environment variables that were used.
        format_python_code: Accepted as in MMEngine; ``pretty_text`` is always well-formed.

    Raises:
        ConfigKeyError: A key is one of ``RESERVED_KEYS``.

    >>> cfg = Config(dict(model=dict(type="ResNet", depth=50)))
    >>> cfg.merge_from_dict({"model.depth": 18})
    >>> cfg.model.depth
    18
    """

    _cfg_dict: ConfigDict
    _filename: str | None
    _text: str
    _env_variables: dict
    _format_python_code: bool
    _imported_names: set[str]

    def __init__(
        self,
        cfg_dict: dict | None = None,
        cfg_text: str | None = None,
        filename: str | Path | None = None,
        env_variables: dict | None = None,
        format_python_code: bool = True,
    ) -> None:
        cfg_dict = {} if cfg_dict is None else cfg_dict
        if not isinstance(cfg_dict, dict):
            raise ConfigTypeError(f"cfg_dict must be a dict, but got {type(cfg_dict)}.")
        filename = str(filename) if isinstance(filename, Path) else filename
        if taken := [key for key in RESERVED_KEYS if key in cfg_dict]:
            raise ConfigKeyError(f"{taken[0]} is reserved for config file. Rename the key.")
        if not isinstance(cfg_dict, ConfigDict):
            cfg_dict = ConfigDict(cfg_dict)
        text = cfg_text or (read_text(filename) if filename else "")
        self.__setstate__(
            (cfg_dict, filename, text, env_variables or {}, format_python_code, set())
        )

    @classmethod
    def fromfile(
        cls,
        filename: str | Path,
        use_predefined_variables: bool = True,
        import_custom_modules: bool = True,
        use_environment_variables: bool = True,
        lazy_import: bool | None = None,
        format_python_code: bool = True,
        safe: bool | str | Path = False,
    ) -> Config:
        """Read a ``.py``, ``.yaml``, ``.yml`` or ``.json`` config.

        Args:
            filename: The file.
            use_predefined_variables: Replace ``{{ fileDirname }}`` and its like.
            import_custom_modules: Import what ``custom_imports`` lists.
            use_environment_variables: Replace ``{{$NAME:default}}``.
            lazy_import: Whether it is a pure-Python config; None finds out.
            format_python_code: Accepted as in MMEngine, without effect.
            safe: Interpret the files instead of executing them, within a budget: for configs
                from strangers. Nothing is imported (classes of pure-Python configs become dotted
                paths), the environment is not read, and bases must lie in the nearest folder
                above that is called ``configs``, or in the folder given here.

        Raises:
            ConfigError: With file and line, through the chain of bases.
        """
        filename = str(filename)
        # cfg.filename stays as the user gave it, as in MMEngine 0.10.7; errors and bases need the absolute path.
        path = find_file(filename)
        sandbox = _sandbox(path, safe)
        options = Options(
            use_predefined_variables=use_predefined_variables,
            use_environment_variables=use_environment_variables,
            lazy_import=lazy_import,
            sandbox=sandbox,
        )
        with reached_by(path, ()):
            text = read_text(path, sandbox)
            # Importing a module runs its code, which a stranger's config must not bring about.
            return cls._read(text, path, filename, options, import_custom_modules and not sandbox)

    @classmethod
    def fromstring(
        cls, cfg_str: str, file_format: str, *, safe: bool | str | Path = False
    ) -> Config:
        """Read a config from the text ``cfg_str``.

        ``file_format`` is a suffix such as ``'.py'``. ``safe``: see :meth:`fromfile`. Bases are looked for in the
        current folder.

        Raises:
            ConfigFormatError: The format is none of those that are read.
        """
        if file_format not in FORMATS:
            raise ConfigFormatError(
                f"file_format={file_format!r} must be one of {', '.join(FORMATS)}."
            )
        if file_format != ".py" and "dict(" in cfg_str:
            warnings.warn(
                f"The text looks like Python; please check file_format={file_format!r}.",
                stacklevel=2,
            )
        # MMEngine 0.10.7 goes through a temporary file, and cfg.filename names it after it is deleted.
        filename = f"string{file_format}"
        path = os.path.abspath(filename)
        sandbox = _sandbox(path, safe)
        return cls._read(cfg_str, path, filename, Options(sandbox=sandbox), not sandbox)

    @classmethod
    def _read(
        cls, text: str, path: str, filename: str, options: Options, import_custom_modules: bool
    ) -> Config:
        lazy = options.lazy_import
        if lazy is None:
            lazy = path.endswith(".py") and _is_pure_python(text, path, options)
        if lazy:
            # Without it, a config that reads a class of its base would import that class.
            with keep_lazy():
                values, imported = load_pure_text(text, path, sandbox=options.sandbox)
            if options.sandbox:
                # A lazy value that is read later would be imported. Only its dotted path is safe.
                values = ConfigDict(values.to_dict())
            for key in [k for k, v in dict.items(values) if isinstance(v, ModuleType)]:
                del values[key]  # they served the configs that inherit; they cannot be pickled
            cfg = cls(values, text, filename)
            cfg._imported_names.update(imported)
        else:
            loaded = load_text(text, path, options)
            _log_environment(loaded.environment)
            cfg = cls(loaded.values, loaded.text, filename, loaded.environment)
        if import_custom_modules:
            import_listed_modules(cfg._cfg_dict, path, optional=lazy)
        return cfg

    @staticmethod
    def auto_argparser(description: str | None = None) -> tuple[ArgumentParser, Config]:
        """Return a parser with one option per value of the config named on the command line.

        ``description`` is the parser's. Reads `sys.argv`; the second result is that config, without the other options.
        """
        first = ArgumentParser(description=description)
        first.add_argument("config", help="config file path")
        # This config decides which other options there are, so they are unknown here.
        cfg = Config.fromfile(first.parse_known_args()[0].config)
        parser = ArgumentParser(description=description)
        parser.add_argument("config", help="config file path")
        add_args(parser, cfg._cfg_dict)
        return parser, cfg

    @property
    def filename(self) -> str | None:
        """File the config was read from."""
        return self._filename

    @property
    def text(self) -> str:
        """Text of the file and of its bases."""
        return self._text

    @property
    def env_variables(self) -> dict:
        """Environment variables that the config used, with their values."""
        return self._env_variables

    @property
    def pretty_text(self) -> str:
        """Python text that loads to an equal config."""
        return format_config(self.to_dict())

    def dump(self, file: str | Path | None = None) -> str | None:
        """Write the config to ``file``, in the format of its suffix.

        Without ``file`` return it as text, in the format of the file that it was read from.
        """
        target = str(file) if file is not None else self.filename or ".py"
        # splitext finds no suffix in ".py", which stands for a config without a file.
        suffix = os.path.splitext(target)[1] or target
        text = self.pretty_text if suffix == ".py" else _dump_data(self.to_dict(), suffix)
        if file is None:
            return text
        try:
            Path(file).write_text(text, encoding="utf-8")
        except OSError as error:
            if error.filename is not None:
                raise
            raise unwritten(file, error) from error
        return None

    def merge_from_dict(self, options: dict, allow_list_keys: bool = True) -> None:
        """Put ``{'model.depth': 18, 'pipeline.0.type': 'X'}`` over the config.

        Args:
            options: Values by dotted key; a key that is an index edits a list.
            allow_list_keys: Whether lists can be edited by index.

        Raises:
            ConfigKeyError: An index exceeds its list.
            ConfigTypeError: A dotted key leads through a value that is not a dict.
        """
        tree: dict = {}
        for dotted, value in options.items():
            *parents, last = dotted.split(".")
            node = tree
            for key in parents:
                child = node.get(key, {})
                if not isinstance(child, dict):
                    raise ConfigTypeError(
                        f"{dotted!r} contradicts another option, {key}={child!r}."
                    )
                # Python assigns from left to right: first the parent's entry, then `node` goes one level down.
                # A copy, since MMEngine 0.10.7 writes `a.b` into the dict that the caller gave for `a`.
                node[key] = node = dict(child)
            node[last] = value
        self._cfg_dict = merge_dicts(tree, self._cfg_dict, allow_list_keys)

    @staticmethod
    def _merge_a_into_b(a: dict, b: dict, allow_list_keys: bool = False) -> dict:
        return merge_dicts(a, b, allow_list_keys)

    @staticmethod
    def diff(cfg1: str | Config, cfg2: str | Config) -> str:
        """Return a unified diff of the printed configs ``cfg1`` and ``cfg2``, each a config or its path."""
        configs = [Config.fromfile(cfg) if isinstance(cfg, str) else cfg for cfg in (cfg1, cfg2)]
        first, second = (cfg.pretty_text.split("\n") for cfg in configs)
        # The blank lines are MMEngine's: each line of the head brings its own end, and printing adds one.
        return "".join(f"{line}\n" for line in difflib.unified_diff(first, second)) + "\n"

    def to_dict(self, keep_imported: bool = False) -> dict:
        """Return builtin dicts, imported classes as their dotted path.

        With ``keep_imported`` the names that a pure-Python config imports stay in it.
        """
        return self._without_imports(self._cfg_dict.to_dict(), keep_imported)

    def _to_lazy_dict(self, keep_imported: bool = False) -> dict:
        return self._without_imports(self._cfg_dict._to_lazy_dict(), keep_imported)

    def _without_imports(self, values: dict, keep_imported: bool) -> dict:
        # A class that is dumped comes back as a string. So the names of imports are left out.
        if keep_imported:
            return values
        return {key: value for key, value in values.items() if key not in self._imported_names}

    def __getattr__(self, name: str) -> Any:
        if name in _FIELDS:  # not there yet, while it is being copied or unpickled
            raise AttributeError(name)
        return getattr(self._cfg_dict, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _FIELDS:
            object.__setattr__(self, name, value)
        else:
            setattr(self._cfg_dict, name, value)

    def __getitem__(self, name: str) -> Any:
        return self._cfg_dict[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._cfg_dict[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._cfg_dict

    def __iter__(self) -> Iterator:
        return iter(self._cfg_dict)

    def __len__(self) -> int:
        return len(self._cfg_dict)

    # MMEngine 0.10.7 has no __eq__ here: two equal configs differ there.
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Config):
            return NotImplemented
        return self.to_dict() == other.to_dict()

    # MMEngine's Config is hashable by identity, and caches keyed by a config rely on it.
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Config (path: {self.filename}): {self._cfg_dict!r}"

    def __getstate__(self) -> tuple:
        return tuple(getattr(self, field) for field in _FIELDS)

    def __setstate__(self, state: tuple) -> None:
        for field, value in zip(_FIELDS, state, strict=True):
            object.__setattr__(self, field, value)

    def __copy__(self) -> Config:
        other = type(self).__new__(type(self))
        other.__setstate__((self._cfg_dict.copy(), *self.__getstate__()[1:]))
        return other

    copy = __copy__

    def __deepcopy__(self, memo: dict) -> Config:
        other = type(self).__new__(type(self))
        memo[id(self)] = other
        other.__setstate__(copy.deepcopy(self.__getstate__(), memo))
        return other


def _sandbox(path: str, safe: bool | str | Path) -> Sandbox | None:
    if safe is False:
        return None
    # Imported only for safe=True: reading a trusted config does not need the interpreter.
    from .safe import Sandbox

    return Sandbox(path, None if safe is True else str(safe))


def _is_pure_python(text: str, path: str, options: Options) -> bool:
    # Before its macros are expanded, `a = {{$N:5}}` is not valid Python. MMEngine 0.10.7 fails on it.
    text, _ = expand(text, path, options)
    # Without one of these words there is no import and no read_base.
    return ("import" in text or "with" in text) and is_pure_python(parse(text, path), path)


def _log_environment(variables: dict[str, str]) -> None:
    if not variables:
        return
    for name, value in variables.items():
        print_log(f"The config uses the environment variable {name}={value!r}.", logger="current")


def _dump_data(values: dict, suffix: str) -> str:
    return dump(values, file_format=suffix.lstrip("."))


@contextmanager
def read_base() -> Iterator[None]:
    """Mark the ``from .base import *`` statements that a pure-Python config inherits from."""
    # The statements below `with read_base()` are taken out before the config runs, so nothing is left to do.
    yield
