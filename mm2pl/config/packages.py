"""Config files that lie in installed packages."""

from __future__ import annotations

import os
from importlib.util import find_spec

from .errors import ConfigModuleNotFoundError, ConfigValueError


def package_folder(package: str) -> str:
    """Return the folder of an importable package, without importing it.

    Raises:
        ConfigModuleNotFoundError: There is no such package.
    """
    try:
        # find_spec of a dotted name would import the package above it.
        spec = find_spec(package) if package.isidentifier() else None
    except ValueError:  # a module in sys.modules without a spec
        spec = None
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise ConfigModuleNotFoundError(
            f"The package {package!r} is not installed, or is not a package. Install it first."
        )
    return folders[0]


def split_package_path(path: str) -> tuple[str, str]:
    """Return the package and the file of ``'mmdet::faster_rcnn/x.py'``.

    Raises:
        ConfigValueError: The path is not of that form.
    """
    package, _, name = path.partition("::")
    if not package.isidentifier() or not name or "::" in name:
        raise ConfigValueError(
            f"{path!r} is not a path into a package. Write package::folder/config.py, "
            "such as mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py."
        )
    return package, name


def package_config(path: str) -> tuple[str, str, str]:
    """Return the file that ``package::path`` means, the folder of configs, and the package."""
    package, name = split_package_path(path)
    # The setup.py of each OpenMMLab toolbox puts its configs there.
    folder = os.path.join(package_folder(package), ".mim", "configs")
    return os.path.join(folder, name), folder, package
