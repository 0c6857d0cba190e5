"""Import what a config's ``custom_imports`` lists, and say where it fails."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from pathlib import Path

from mm2pl.utils import import_modules_from_strings

from .config_dict import ConfigDict
from .errors import ConfigImportError, ConfigTypeError, Site

_KEYS = ("imports", "allow_failed_imports")
_NOT_THE_USERS = (
    "<frozen",
    str(Path(__file__).resolve().parents[1]),
    os.path.dirname(os.__file__) + "/importlib",
)


def import_listed_modules(cfg: ConfigDict, path: str, optional: bool) -> None:
    """Import what ``custom_imports`` lists; a failure is only a warning if ``optional``.

    Raises:
        ConfigImportError: A module is not found, or an import inside it fails.
        ConfigTypeError: ``custom_imports`` is not a dict, or has another key than the two.
    """
    custom = cfg.get("custom_imports") or {}
    if not isinstance(custom, dict):
        raise ConfigTypeError(f"custom_imports={custom!r:.80} → dict(imports=[…])", Site(path))
    if unknown := [key for key in custom if key not in _KEYS]:
        raise ConfigTypeError(
            f"custom_imports has {unknown[0]!r}, and takes {' and '.join(_KEYS)}.",
            Site(path),
            key=unknown[0],
            accepted=_KEYS,
        )
    try:
        import_modules_from_strings(**{"imports": [], **custom})
    except ImportError as error:
        line = line_inside(error.__cause__, custom.get("imports"))
        advice = (
            f"The module was found, but an import in it fails, at {line}"
            if line
            else "Set PYTHONPATH so that sys.path has the folder of your module"
        )
        message = f"{str(error).rstrip('.')}. {advice}"
        if optional:  # MMEngine 0.10.7 ignores custom_imports in pure-Python configs
            warnings.warn(f"{path}: custom_imports: {message}.", stacklevel=4)
            return
        folders = "" if line else "".join([":", *(f"\n  {folder}" for folder in sys.path)])
        raise ConfigImportError(
            f"Failed to import custom modules from custom_imports: {message}{folders}", Site(path)
        ) from error


def line_inside(error: BaseException | None, imports: str | list[str] | None) -> str:
    """Return the line of a listed module whose own import fails; ``""`` if the module itself is not found."""
    names = [imports] if isinstance(imports, str) else imports or []
    missing = getattr(error, "name", None)
    absent = any(f"{name}.".startswith(f"{missing}.") for name in names)
    if error is None or (isinstance(error, ModuleNotFoundError) and absent):
        return ""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not frame.filename.startswith(_NOT_THE_USERS)]
    return f"{own[-1].filename}:{own[-1].lineno}: {own[-1].line}" if own else ""
