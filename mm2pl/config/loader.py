"""From a config file and its ``_base_`` chain to one tree of values."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .config_dict import ConfigDict
from .document import (
    Document,
    data_document,
    find_file,
    python_document,
    read_text,
)
from .errors import (
    ConfigError,
    ConfigKeyError,
    ConfigParsingError,
    ConfigTypeError,
    Site,
    reached_by,
)
from .merge import MergeError, copy_tree, merge_dicts
from .packages import package_config
from .placeholders import expand_environment, expand_file_variables
from .source import BASE_KEY, key_line, parse

if TYPE_CHECKING:
    from .safe import Sandbox

DEPRECATION_KEY = "_deprecation_"
_MOST_NAMED = 5
_LONG_CHAIN = 10  # from here on, cycles through symbolic links are looked for


@dataclass(frozen=True, kw_only=True)
class Options:
    """How ``Config.fromfile`` was asked to read, and whether ``_base_`` may be computed, as in MMCV 1.x."""

    use_predefined_variables: bool = True
    use_environment_variables: bool = True
    lazy_import: bool | None = None
    sandbox: Sandbox | None = None
    computed_bases: bool = False


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """One config file with everything it inherits.

    Attributes:
        values: The merged config; no container occurs in it twice.
        text: Name and text of every file, bases first.
        environment: The environment variables that were used.
        files: This file and all it inherits from.
    """

    values: ConfigDict
    text: str
    environment: dict[str, str]
    files: tuple[str, ...]


def load_file(path: str, options: Options, via: tuple[Site, ...] = ()) -> Loaded:
    """Read a config and its bases.

    Raises:
        ConfigError: At the line of the file that is wrong.
    """
    refuse_cycle(path, via)
    with reached_by(path, via):
        text = read_text(path, options.sandbox)
    return load_text(text, path, options, via)


def load_text(original: str, path: str, options: Options, via: tuple[Site, ...] = ()) -> Loaded:
    """Read a config from its text; ``path`` tells the format and the folder of its bases."""
    with reached_by(path, via):
        text, environment = expand(original, path, options)
        document = read_document(text, path, options)
        inherited = [load_base(base, path, line, options, via) for base, line in document.bases]
        base = join(inherited, [Site(path, line) for _, line in document.bases])
        own = document.run(base)
        if inherited and text.count(BASE_KEY) > 1:  # it may have put dicts of its own into the base
            base = copy_tree(base)
        # Taken out, since a config that inherits from a deprecated one is not deprecated itself.
        if info := own.pop(DEPRECATION_KEY, None):
            if not isinstance(info, dict):
                raise ConfigTypeError(
                    f"{DEPRECATION_KEY} is {info!r:.80}; it must be a dict with expected and reference.",
                    Site(path),
                )
            _warn_deprecated(path, info)
        values = put_over(own, base, text, path)
    for item in inherited:
        environment.update(item.environment)
    return Loaded(
        values=values,
        text="\n".join([*(item.text for item in inherited), f"{path}\n{original}"]),
        environment=environment,
        files=(path, *(name for item in inherited for name in item.files)),
    )


def refuse_cycle(path: str, via: tuple[Site, ...]) -> None:
    """Raise if a config inherits from itself, however far away."""
    # MMEngine 0.10.7 does not look for cycles and ends in a RecursionError.
    chain = [*(site.filename for site in via), path]
    seen = chain if len(chain) < _LONG_CHAIN else [os.path.realpath(name) for name in chain]
    if seen[-1] in seen[:-1]:
        raise ConfigParsingError(
            f"The config inherits from itself: {' -> '.join(chain[-5:])}.", via[-1], via[:-1]
        )


def put_over(own: ConfigDict, base: ConfigDict, text: str, path: str) -> ConfigDict:
    """Merge a config over its bases; a conflict is an error at the child's line."""
    try:
        return merge_dicts(own, base)
    except MergeError as error:
        line = key_line(parse(text, path), error.path) if path.endswith(".py") else 0
        error.at = Site(path, line)
        raise


def expand(text: str, path: str, options: Options) -> tuple[str, dict[str, str]]:
    """Replace the macros of a file, as far as the options allow; return also what was used."""
    if options.use_predefined_variables:
        text = expand_file_variables(text, path)
    if options.use_environment_variables:
        # The environment may hold secrets, which a stranger's config must not read.
        return expand_environment(text, path, {} if options.sandbox else os.environ)
    return text, {}


def read_document(text: str, path: str, options: Options) -> Document:
    """Read one file without its bases."""
    box = options.sandbox
    if path.endswith(".py"):
        return python_document(text, path, options.lazy_import, box, options.computed_bases)
    return data_document(text, path, box)


def load_base(base: str, path: str, line: int, options: Options, via: tuple[Site, ...]) -> Loaded:
    """Read the config that line ``line`` of ``path`` inherits from."""
    site, scope = Site(path, line), None
    try:
        if "::" in base:
            found, folder, scope = package_config(base)
            if options.sandbox:
                options.sandbox.allow_package(folder)
        else:
            found = os.path.join(os.path.dirname(path), base)
        found = find_file(found, options.sandbox)
    except ConfigError as error:
        # At fault is the `_base_` line, not the file that is missing.
        error.at = site
        raise
    loaded = load_file(found, options, (*via, site))
    if scope is not None:
        _set_scope(loaded.values, scope)
    return loaded


def join(inherited: Sequence[Loaded], sites: Sequence[Site]) -> ConfigDict:
    """Put several bases side by side; they must not define the same key.

    Raises:
        ConfigKeyError: Two bases have the same key.
    """
    if not inherited:
        return ConfigDict()
    base, *others = (item.values for item in inherited)
    for number, values in enumerate(others, 1):
        if duplicates := [key for key in values if key in base]:
            more = len(duplicates) - _MOST_NAMED
            raise ConfigKeyError(
                "Duplicate key is not allowed among bases. "
                + _who_defines(duplicates[:_MOST_NAMED], inherited)
                + (f" So are {more} others." if more > 0 else "")
                + " Keep each key in one base, or set it in the child alone.",
                sites[number],
            )
        # No key stands in both. ConfigDict.update would only build all lists again.
        dict.update(base, dict.items(values))
    return base


def _who_defines(keys: Sequence[str], inherited: Sequence[Loaded]) -> str:
    """Say where the bases set each key."""
    places: dict[str, list[Site]] = {key: [] for key in keys}
    for item in inherited:
        wanted = [key for key in keys if key in item.values]
        for name in item.files if wanted else ():
            tree = parse(read_text(name), name) if name.endswith(".py") else None
            lines = {key: key_line(tree, [key]) if tree else 0 for key in wanted}
            for key in [key for key in wanted if lines[key] or name == item.files[-1]]:
                places[key].append(Site(name, lines[key]))
                wanted.remove(key)
    return " ".join(
        f"{key!r} is defined in {' and in '.join(map(str, places[key]))}." for key in keys
    )


def _set_scope(value: Any, scope: str) -> None:
    """Mark the outermost dicts that have a ``type`` as belonging to another package."""
    if isinstance(value, dict):
        if "type" in value:
            # A base of the base may belong to a third package, and keeps that scope.
            if value.get("_scope_") is None:
                value["_scope_"] = scope
            return
        value = dict.values(value)
    elif not isinstance(value, (list, tuple)):
        return
    for item in value:
        _set_scope(item, scope)


def _warn_deprecated(path: str, info: Any) -> None:
    message = f"The config file {path} will be deprecated in the future."
    for key, text in (("expected", "Please use {} instead."), ("reference", "See {}.")):
        if key in info:
            message += " " + text.format(info[key])
    warnings.warn(message, DeprecationWarning, stacklevel=2)
