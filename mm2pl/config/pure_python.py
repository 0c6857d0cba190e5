"""Pure-Python configs: inheritance by ``with read_base():``, classes by import statements."""

from __future__ import annotations

import os
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .config_dict import ConfigDict, rebuild
from .document import execute, read_text
from .errors import ConfigError, ConfigKeyError, ConfigParsingError, Site, reached_by
from .lazy import LazyObject
from .loader import refuse_cycle
from .packages import package_folder
from .pure_source import LAZY_NAME, PureSource, compiled_pure_source, read_pure_source

if TYPE_CHECKING:
    from .safe import Sandbox


def load_pure_python(
    path: str, via: tuple[Site, ...] = (), sandbox: Sandbox | None = None
) -> tuple[ConfigDict, set[str]]:
    """Read a pure-Python config and its bases; ``ConfigDict.lazy`` must be set.

    Returns:
        Its values, and those of its names that are imports, functions or modules and therefore
        not part of the config when it is dumped.

    Raises:
        ConfigError: At the line of the file that is wrong.
    """
    refuse_cycle(path, via)
    with reached_by(path, via):
        text = read_text(path, sandbox)
    return load_pure_text(text, path, via, sandbox)


def load_pure_text(
    text: str, path: str, via: tuple[Site, ...] = (), sandbox: Sandbox | None = None
) -> tuple[ConfigDict, set[str]]:
    """Read a pure-Python config from its text, as :func:`load_pure_python` does."""
    with reached_by(path, via):
        source = (read_pure_source if sandbox else compiled_pure_source)(text, path)
        bases, imported = {}, set(source.imported)
        for module, line in source.modules.items():
            base = base_path(source, module, line, sandbox)
            bases[module], names = load_pure_python(base, (*via, Site(path, line)), sandbox)
            imported |= names
        namespace: dict[str, Any] = {"__file__": path, LAZY_NAME: LazyObject}
        # Before the code runs, since it may change what it inherits.
        _take_from_bases(source, bases, namespace)
        if sandbox:
            sandbox.run_pure_python(source.tree, path, namespace)
        else:
            execute(source.code, path, namespace)
        values = {key: value for key, value in namespace.items() if not key.startswith("__")}
        for key, value in values.items():
            # MMEngine 0.10.7 keeps a function that the config defines, and then cannot print the config.
            if isinstance(value, (FunctionType, ModuleType)):
                imported.add(key)
        return _copy_containers(values), imported


def base_path(source: PureSource, module: str, line: int, sandbox: Sandbox | None) -> str:
    """Return the file that ``from module import ...`` inside ``read_base`` means."""
    name = module.lstrip(".")
    parts, level = name.split("."), len(module) - len(name)
    site = Site(source.filename, line)
    if level:
        folder = os.path.dirname(source.filename)
        parts = [*[".."] * (level - 1), *parts]
    elif len(parts) == 1:
        raise ConfigParsingError(
            f"{name!r} is a package, not a config. Write `from package.configs.name import *`.",
            site,
        )
    else:
        try:
            folder = package_folder(parts.pop(0))
        except ConfigError as error:
            error.at = site
            raise
        if sandbox:
            sandbox.allow_package(folder)
    path = os.path.abspath(os.path.join(folder, *parts)) + ".py"
    if sandbox:
        sandbox.check_base(path)
    if not os.path.isfile(path):
        folder, missing = os.path.split(path)
        raise ConfigParsingError(
            f"`from {module} import ...` inside `read_base` means {path}, which does not exist.",
            site,
            key=missing,
            accepted=os.listdir(folder) if os.path.isdir(folder) else (),
        )
    return path


def _take_from_bases(
    source: PureSource, bases: dict[str, ConfigDict], namespace: dict[str, Any]
) -> None:
    for module, name, target, line in source.taken:
        base = bases[module]
        if name == "*":
            namespace.update(dict.items(base))
        elif name in base:
            namespace[target] = base[name]
        else:
            raise ConfigKeyError(
                f"The config {module} does not define {name!r}.",
                Site(source.filename, line),
                key=name,
                accepted=base.keys(),
            )


def _copy_containers(value: Any) -> Any:
    """Make every dict a ConfigDict of its own; what it holds stays as it is, lazy or built."""
    if isinstance(value, dict):
        result = ConfigDict.__new__(ConfigDict)
        dict.update(result, {key: _copy_containers(item) for key, item in dict.items(value)})
        return result
    if isinstance(value, (list, tuple)):
        return rebuild(value, (_copy_containers(item) for item in value))
    return value
