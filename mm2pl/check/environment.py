"""What a run stands on: versions, devices, its folder, the services that it writes to."""

from __future__ import annotations

import os
import platform
import shutil
import socket
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import torch

from mm2pl.plan.fault import Fault
from mm2pl.registry import VISBACKENDS
from mm2pl.version import __version__
from mm2pl.visualization.vis_backend import OfServer

_TIMEOUT = 3
"""Seconds that a server has to answer in."""

_PORTS = {"http": 80, "https": 443}


def described(config: Mapping[str, Any]) -> dict[str, str]:
    """Describe the machine and the folder of a run."""
    found = {
        "versions": f"mm2pl {__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"lightning {version('lightning')}",
        "device": ", ".join(_devices()) or f"CPU, {os.cpu_count()} cores",
    }
    if memory := memory_of_machine():
        found["memory"] = size(memory)
    if "://" not in (folder := work_dir_of(config)):
        free = shutil.disk_usage(existing(folder)).free
        found["work_dir"] = f"{folder}, {size(free)} free"
    return found


def work_dir_of(config: Mapping[str, Any]) -> str:
    """Return the folder that a config names; a value of another type is for the schema to refuse."""
    folder = config.get("work_dir")
    return folder if isinstance(folder, str) else ""


def _devices() -> Iterator[str]:
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        yield f"{device.name}, {size(device.total_memory)}"


def memory_of_machine() -> int | None:
    """Return the memory in bytes, where the system tells."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (
        AttributeError,
        ValueError,
    ):  # Windows has no such function, other systems not these names
        return None


def existing(path: str) -> Path:
    """Return the nearest folder above ``path`` that is there."""
    folder = Path(path).expanduser().absolute()
    return next(each for each in (folder, *folder.parents) if each.exists())


def faults_of_places(config: Mapping[str, Any], trusted: bool = True) -> Iterator[Fault]:
    """Yield the folders, files and packages that the run needs and that are not there.

    Args:
        config: The config's keys.
        trusted: Whether the module of a backend may be imported.
    """
    work_dir = work_dir_of(config)
    if "://" not in work_dir:
        folder = existing(work_dir)
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            yield Fault(
                path="work_dir",
                given=repr(work_dir),
                why=f"{folder} cannot be written",
                advice="name a folder that can, in the config or with --work-dir",
            )
    file = config.get("load_from")
    if isinstance(file, str) and "://" not in file and not os.path.exists(os.path.expanduser(file)):
        yield Fault(
            path="load_from",
            given=repr(file),
            why="there is no such file",
            advice="give a path that is there, or a URL",
        )
    yield from _services(config, trusted)


def _services(config: Mapping[str, Any], trusted: bool) -> Iterator[Fault]:
    """Yield the packages and servers of visualization backends that are not there."""
    visualizer = config.get("visualizer")
    backends = visualizer.get("vis_backends") if isinstance(visualizer, Mapping) else None
    for index, backend in enumerate(backends if isinstance(backends, list | tuple) else ()):
        kind = backend.get("type") if isinstance(backend, Mapping) else None
        cls: Any = kind
        if isinstance(kind, str) and (trusted or "." not in kind):
            cls = VISBACKENDS.get(kind)
        package = getattr(cls, "package", None)
        if not package:
            continue
        if find_spec(package) is None:
            yield Fault(
                path=f"visualizer.vis_backends.{index}.type",
                given=repr(kind),
                why=f"it needs the package {package}, which is not installed",
                advice=f"pip install {package}, or leave the backend out",
            )
            continue
        given = backend.items() if isinstance(backend, Mapping) else ()
        arguments = {str(key): value for key, value in given if key != "type"}
        # A stranger's config does not make this machine connect to anything.
        asks = trusted and isinstance(cls, type) and issubclass(cls, OfServer)
        if not (asks and isinstance(arguments.get("init_kwargs"), Mapping | None)):
            continue
        address = cls.address(**arguments)
        if why := unreachable(address):
            yield Fault(
                path=f"visualizer.vis_backends.{index}.type",
                given=repr(kind),
                why=f"{address} does not answer: {why}",
                advice="start the server, or leave the backend out",
                severity="warning",
            )


def unreachable(address: object) -> str:
    """Return why a server cannot be reached, or ``""`` if it can, or if nobody can know.

    Args:
        address: ``https://HOST:PORT/…`` and the like; anything else, such as a folder, is not asked.
    """
    try:
        url = urlsplit(address if isinstance(address, str) else "")
        port = url.port or _PORTS.get(url.scheme)
        if url.hostname and port and not _is_proxied(url.scheme, url.hostname):
            socket.create_connection((url.hostname, port), timeout=_TIMEOUT).close()
    except (OSError, ValueError) as error:  # a port that is not a number is a ValueError
        return str(error)
    return ""


def _is_proxied(scheme: str, host: str) -> bool:
    # By the variables and settings that urllib follows: ALL_PROXY is "all", NO_PROXY names hosts.
    return not getproxies().keys().isdisjoint((scheme, "all")) and not proxy_bypass(host)


def size(number: float) -> str:
    """Return a number of bytes for people.

    >>> size(512), size(3 * 2**20), size(2.5 * 2**30)
    ('512 B', '3.0 MiB', '2.5 GiB')
    """
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:.0f} B" if unit == "B" else f"{number:.1f} {unit}"
