"""Installed packages, and what OpenMMLab's are called."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.util import find_spec

MODULE2PACKAGE = {
    "mmcls": "mmcls",
    "mmdet": "mmdet",
    "mmdet3d": "mmdet3d",
    "mmseg": "mmsegmentation",
    "mmaction": "mmaction2",
    "mmtrack": "mmtrack",
    "mmpose": "mmpose",
    "mmedit": "mmedit",
    "mmocr": "mmocr",
    "mmgen": "mmgen",
    "mmfewshot": "mmfewshot",
    "mmrazor": "mmrazor",
    "mmflow": "mmflow",
    "mmhuman3d": "mmhuman3d",
    "mmrotate": "mmrotate",
    "mmselfsup": "mmselfsup",
    "mmyolo": "mmyolo",
    "mmpretrain": "mmpretrain",
    "mmagic": "mmagic",
}
"""What to `pip install` for each of OpenMMLab's importable packages."""


def is_installed(package: str) -> bool:
    """Return whether ``package`` is installed, or can be imported by that name.

    A folder that is not a package (a namespace) does not count. MMEngine 0.10.7 needs `pkg_resources`
    here, which setuptools no longer has.
    """
    # importlib.metadata takes 0.1 s to import, and importing this file must not.
    from importlib import metadata

    try:
        metadata.distribution(package)
    # An empty name is a ValueError.
    except (metadata.PackageNotFoundError, ValueError):
        spec = _find_spec(package)
        return spec is not None and spec.origin is not None
    return True


def _find_spec(package: str) -> ModuleSpec | None:
    try:
        return find_spec(package)
    # find_spec imports what is above a dotted name, and refuses a module that has no spec, such as __main__.
    except (ImportError, ValueError):
        return None


def get_installed_path(package: str) -> str:
    """Return the folder of ``package``, given by its own name or its module's (``mmcv-full``, ``mmcv``).

    Raises:
        PackageNotFoundError: It is not installed.
        RuntimeError: It is a namespace without a folder of its own.
    """
    spec = _find_spec(package) or _find_spec(package2module(package))
    # `mmengine` as mm2pl serves it has a file, but its spec does not name it.
    loaded = sys.modules.get(package)
    origin = None if spec is None else spec.origin or getattr(loaded, "__file__", None)
    if origin is None:
        raise RuntimeError(
            f"{package} is a namespace package, which is invalid for `get_install_path`"
        )
    return os.path.dirname(origin)


def package2module(package: str) -> str:
    """Return the name of the module that a package installs.

    Raises:
        PackageNotFoundError: It is not installed.
        ValueError: It does not say.
    """
    from importlib import metadata

    distribution = metadata.distribution(package)
    # Only setuptools writes this file. MMEngine 0.10.7 gives up where it is missing.
    if top_level := distribution.read_text("top_level.txt"):
        return top_level.split("\n")[0]
    for file in distribution.files or ():
        if len(file.parts) == 2 and file.name == "__init__.py":
            return file.parts[0]
    raise ValueError(f"can not infer the module name of {package}")


def call_command(cmd: list[str]) -> None:
    """Run ``cmd``, a program and its arguments, without a shell.

    Raises:
        CalledProcessError: It fails.
    """
    subprocess.check_call(cmd)


def install_package(package: str) -> None:
    """Install ``package`` with pip, unless it is there."""
    if not is_installed(package):
        # MMEngine 0.10.7 calls `python`, which may be another one than this.
        call_command([sys.executable, "-m", "pip", "install", package])
