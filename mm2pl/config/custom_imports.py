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
        here = _if_here(error.__cause__)
        advice = (
            f"The module was found, but an import in it fails, at {line}{_to_install(error.__cause__)}"
            if line
            else f"Set PYTHONPATH so that sys.path has the folder of your module{here}"
        )
        message = f"{str(error).rstrip('.')}. {advice}"
        if optional:  # MMEngine 0.10.7 ignores custom_imports in pure-Python configs
            warnings.warn(f"{path}: custom_imports: {message}.", stacklevel=4)
            return
        folders = "" if line or here else "".join([":", *(f"\n  {folder}" for folder in sys.path)])
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


_PIP = {
    # MMCV asks for MMEngine.
    "mmcv": "--no-deps mmcv-lite==2.1.0, and pip install addict yapf opencv-python-headless",
    "cv2": "opencv-python-headless",
}


def _to_install(error: BaseException | None) -> str:
    """Return how to install what an import misses, for packages whose name or way of installing is not the obvious."""
    package = _PIP.get((getattr(error, "name", None) or "").partition(".")[0])
    return f" → pip install {package}" if package and isinstance(error, ModuleNotFoundError) else ""


def _if_here(error: BaseException | None) -> str:
    """Return what to type if the missing module lies in the current folder, as for a script in ``tools``."""
    root = (getattr(error, "name", None) or "").partition(".")[0]
    here = root and (Path(root).is_dir() or Path(f"{root}.py").is_file())
    return ", which is the current one → put PYTHONPATH=. before the command" if here else ""
