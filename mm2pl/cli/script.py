"""``mm2pl run``: run an unmodified script that imports mmengine, with mm2pl in its place."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError, MissingFileError, MissingModuleError, add_note

USAGE = """usage: mm2pl run SCRIPT [ARGS…]
       mm2pl run -m MODULE [ARGS…]

Run a script as `python SCRIPT` does, with `import mmengine` served by mm2pl: also where MMEngine is installed, and in
the processes that the script starts. All words after SCRIPT are the script's own.
"""

_NO_MMCV = """mm2pl run serves mmengine alone.
A project of MMCV 1.x is rewritten once: mm2pl migrate --code FOLDER --write
For MMCV 2.x: pip install addict yapf opencv-python-headless && pip install --no-deps mmcv-lite==2.1.0"""


def run(command: str, arguments: list[str]) -> None:
    """Run a script or a module as ``__main__``; :func:`mm2pl.cli.main` serves mmengine.

    Raises:
        FileNotFoundError: If there is no such script.
        SystemExit: As the script ends.
        ValueError: If no script is named.
    """
    if arguments[:1] in (["-h"], ["--help"]):
        print(USAGE)
        return
    as_module = arguments[:1] == ["-m"]
    target, *rest = arguments[as_module:] or [""]
    if not target:
        raise ArgumentError("mm2pl run needs a script → mm2pl run SCRIPT [ARGS…], or -m MODULE")
    if not as_module:
        require_script(target)
    # As Python sets it: the folder of the script, its links followed, or the current one.
    folder = os.getcwd() if as_module else str(Path(target).resolve().parent)
    with as_python_starts([target, *rest], folder), served_to_children():
        try:
            if as_module:
                require_module(target)
                runpy.run_module(target, run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(target, run_name="__main__")
        except ModuleNotFoundError as error:
            if error.name == "mmcv":
                add_note(error, _NO_MMCV)
            raise


def require_script(path: str) -> None:
    """Refuse a script that is not there.

    Raises:
        FileNotFoundError: Naming scripts with a similar name, if there are any.
    """
    file = Path(path)
    if file.is_file() or (file / "__main__.py").is_file():
        return
    if path in ("python", "python3"):
        raise ArgumentError(f"mm2pl run takes the place of {path} → mm2pl run SCRIPT [ARGS…]")
    names = [other.name for other in file.parent.glob("*.py")]
    hint = did_you_mean(str(file.parent / name) for name in closest(file.name, names))
    raise MissingFileError(f"the script {path!r} does not exist.{hint}")


def require_module(name: str) -> None:
    """Refuse a module that is not there.

    Raises:
        MissingModuleError: Naming the part that is missing.
    """
    try:
        found = find_spec(name)
        if found is not None and found.submodule_search_locations is not None:
            found = find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        # Another one is missing: the import of a package above has failed.
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        found = None
    if found is None:
        raise MissingModuleError(
            f"there is no module {name!r} that runs → start where `python -m {name}` finds it, or give a script"
        )


@contextmanager
def as_python_starts(argv: list[str], folder: str) -> Iterator[None]:
    """Set ``sys.argv`` and ``sys.path[0]`` as for ``python SCRIPT``."""
    before = sys.argv, [*sys.path]
    sys.argv = argv
    # With `python -P` nobody sets it.
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = folder
    try:
        yield
    finally:
        sys.argv, sys.path[:] = before


@contextmanager
def served_to_children() -> Iterator[None]:
    """Let the processes that are started meanwhile serve mmengine too; see :mod:`mm2pl.cli.startup.sitecustomize`."""
    folder = str(Path(__file__).resolve().parent / "startup")
    paths = [folder, *filter(None, [os.environ.get("PYTHONPATH")])]
    new = {"PYTHONPATH": os.pathsep.join(paths), "MM2PL_SERVES_MMENGINE": "1"}
    before = {name: os.environ.get(name) for name in new}
    os.environ.update(new)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
