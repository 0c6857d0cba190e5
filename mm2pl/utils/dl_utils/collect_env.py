"""What this run stands on, for the top of the log."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections import OrderedDict, defaultdict
from importlib import metadata
from typing import Any

import numpy as np
import torch

from mm2pl.device import is_cuda_available, is_musa_available
from mm2pl.version import __version__


def collect_env() -> OrderedDict[str, Any]:
    """Return platform, devices, compilers and versions, under MMEngine's names where it has them."""
    env: OrderedDict[str, Any] = OrderedDict()
    env["sys.platform"] = sys.platform
    env["Python"] = sys.version.replace("\n", "")
    env["CUDA available"] = is_cuda_available()
    env["MUSA available"] = is_musa_available()
    # Until something is drawn, the first word of NumPy's state is the seed.
    env["numpy_random_seed"] = int(np.random.get_state()[1][0])  # type: ignore[index]
    if is_cuda_available():
        env.update(_devices(torch.cuda))
        env.update(_cuda())
    elif is_musa_available():
        env.update(_devices(torch.musa))  # type: ignore[attr-defined]
        env["MUSA_HOME"] = os.environ.get("MUSA_HOME")
    # CC may hold options too, such as `gcc -pthread`.
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    env["GCC"] = _first_line([os.path.basename(compiler), "--version"]) or "n/a"
    env["PyTorch"] = torch.__version__
    env["PyTorch compiling details"] = torch.__config__.show()
    # One library may come as one of several distributions.
    packages = {
        "TorchVision": ("torchvision",),
        "OpenCV": ("opencv-python", "opencv-python-headless", "opencv-contrib-python"),
        "Lightning": ("lightning", "pytorch-lightning"),
        "MMEngine": ("mmengine", "mmengine-lite"),
    }
    for name, distributions in packages.items():
        if version := next(filter(None, map(_version, distributions)), None):
            env[name] = version
    env["mm2pl"] = __version__
    # A module without a distribution: mm2pl itself, served under that name (compat).
    served = sys.modules.get("mmengine")
    if served is not None and "MMEngine" not in env:
        env["MMEngine"] = getattr(served, "__version__", None)
        env["mm2pl"] = f"{__version__}, served as mmengine"
    return env


def _version(distribution: str) -> str | None:
    # Asked without importing: a broken torchvision must not keep a run from its log.
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _devices(module: Any) -> dict[str, str]:
    numbers = defaultdict(list)
    for k in range(module.device_count()):
        numbers[module.get_device_name(k)].append(str(k))
    return {f"GPU {','.join(ks)}": name for name, ks in numbers.items()}


def _cuda() -> dict[str, Any]:
    # This module looks for the CUDA toolkit when it is imported.
    from torch.utils.cpp_extension import CUDA_HOME

    if CUDA_HOME is None or not os.path.isdir(CUDA_HOME):
        return {"CUDA_HOME": CUDA_HOME}
    text = _output([os.path.join(CUDA_HOME, "bin", "nvcc"), "-V"]) or "Not Available"
    release = [line for line in text.splitlines() if "release" in line]
    return {"CUDA_HOME": CUDA_HOME, "NVCC": release[0] if release else text.strip()}


def _output(command: list[str]) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def _first_line(command: list[str]) -> str:
    return (_output(command) or "").partition("\n")[0].strip()
