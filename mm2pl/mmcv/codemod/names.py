"""Where the names of `mmcv` 1.x and `mmengine` are in mm2pl."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from mm2pl.compat import ours

_HOME = {
    "mm2pl.hooks": ("Hook",),
    "mm2pl.registry": (
        *("HOOKS", "OPTIMIZERS", "MODELS", "Registry", "build_from_cfg", "build_model_from_cfg"),
    ),
    "mm2pl.config": ("Config", "ConfigDict", "DictAction"),
    "mm2pl.dist": ("get_dist_info", "init_dist", "master_only"),
    "mm2pl.logging": ("print_log",),
    "mm2pl.runner": (
        *("load_checkpoint", "load_state_dict", "CheckpointLoader", "weights_to_cpu"),
        *("Priority", "get_priority", "find_latest_checkpoint"),
    ),
    "mm2pl.runner.checkpoint": ("_load_checkpoint", "_load_checkpoint_with_prefix"),
    "mm2pl.model": ("BaseModule", "ModuleDict", "ModuleList", "Sequential"),
}
# Rewritten code is to end at MMEngine's names. Only what has no successor stays at mm2pl.mmcv.
_MOVED = {name: room for room, names in _HOME.items() for name in names}
"""Names whose home is one of today's rooms, though `mm2pl.mmcv` may know them too."""

# Searched in this order: today's room first, then the 1.x runtime.
_ROOMS = {
    "mmcv.runner": ("mm2pl.mmcv.runner", "mm2pl.mmcv.runner.fp16_utils"),
    "mmcv.parallel": ("mm2pl.mmcv.parallel",),
    "mmcv.engine": ("mm2pl.mmcv.engine",),
    "mmcv.utils": ("mm2pl.utils", "mm2pl.mmcv.utils"),
    "mmcv.fileio": ("mm2pl.fileio",),
    "mmcv.cnn": ("mm2pl.model", "mm2pl.mmcv.cnn"),
}

UNCHANGED = "stays MMCV's: MMCV 2.x has it unchanged"
"""Why a name is left that needs nothing from the user but MMCV 2.x."""

STAYS = {
    "mmcv.runner": "mm2pl.mmcv.runner has no such name: take its lines over, or use what replaces it",
    "mmcv.parallel": "processes and devices are the Trainer's",
    "mmcv.onnx": "mm2pl exports nothing; mmdeploy does",
    "mmcv.tensorrt": "mm2pl exports nothing; mmdeploy does",
    "mmcv.device": "Lightning chooses the accelerator",
    "mmcv.jit": "does nothing without parrots: delete the decorator",
    "mmcv.__version__": "is MMCV's own: a test for a version of 1.x refuses 2.x → delete the test",
    "mmcv": "neither mm2pl nor MMCV 2.1.0 has it there: take its lines over, or use what replaces it",
    "mmengine": "mm2pl has no such name",
}
"""Why names are left as they are; the longest prefix counts."""


def reason(name: str) -> str:
    """Return why a name such as ``'mmcv.ops.nms'`` is left."""
    parts = name.split(".")
    # From the longest: `mmcv.jit` has a reason of its own next to `mmcv`.
    prefixes = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((STAYS[prefix] for prefix in prefixes if prefix in STAYS), "not known here")


def is_old(module: str) -> bool:
    """Return whether ``module`` is of MMCV or MMEngine."""
    return module.partition(".")[0] in ("mmcv", "mmengine")


@cache
def home(module: str, name: str) -> str | None:
    """Return the module of mm2pl that has what ``from module import name`` gave; None if none has.

    Example:
        >>> home("mmcv.runner", "EpochBasedRunner"), home("mmcv.utils", "Config"), home("mmcv.ops", "nms")
        ('mm2pl.mmcv.runner', 'mm2pl.config', None)
        >>> home("mmengine.optim", "OptimWrapper")
        'mm2pl.optim'
    """
    root, _, rest = module.partition(".")
    if root == "mmengine":
        return _mmengine_home(rest, name)
    if root != "mmcv":
        return None
    # 1.x code imports from inner modules too, such as mmcv.runner.hooks.hook.
    room = ".".join(module.split(".")[:2])
    if room == "mmcv":
        # `mmcv` itself re-exported mmcv.utils and mmcv.fileio among others, but never mmcv.cnn.
        rooms = [r for key, found in _ROOMS.items() if key != "mmcv.cnn" for r in found]
    else:
        rooms = list(_ROOMS.get(room, ()))
    # mm2pl.model has many names, such as BaseModel, that `mmcv.cnn` never had.
    if room == "mmcv.cnn" and not _has("mm2pl.mmcv.cnn", name):
        return None
    # Before the search, which would find them in mm2pl.mmcv first.
    if rooms and name in _MOVED:
        return _MOVED[name]
    # The last is the module of the same path, which has what the room does not show.
    rooms += [f"mm2pl.{module}"] if rooms and module != room else []
    # A module of that name, such as mm2pl.mmcv.runner.optimizer, is not the object.
    return next((r for r in rooms if _has(r, name) and not _is_module(r, name)), None)


def _mmengine_home(rest: str, name: str) -> str | None:
    # Where MMEngine's module only imports the name, or is cut differently.
    found, _, last = ours(".".join(filter(None, ["mmengine", rest, name]))).rpartition(".")
    if last == name and found.startswith("mm2pl") and _has(found, name):
        return found
    parts = rest.split(".") if rest else []
    for n in range(len(parts), -1, -1):  # private modules may be laid out differently
        candidate = ".".join(["mm2pl", *parts[:n]])
        if _has(candidate, name):
            return candidate
    return None


def module_home(module: str) -> str | None:
    """Return the module of mm2pl that stands for a whole module; None if none does."""
    root, _, rest = module.partition(".")
    if root == "mmengine":
        candidate = f"mm2pl.{rest}" if rest else "mm2pl"
        return candidate if _module(candidate) is not None else None
    # The only two that mm2pl mirrors as a whole. Of the others some names moved and some stay.
    found = {"mmcv.runner": "mm2pl.mmcv.runner", "mmcv.parallel": "mm2pl.mmcv.parallel"}
    return found.get(module)


@cache
def _module(path: str) -> Any:
    try:
        return import_module(path)
    # A path that does not exist, or one with an optional dependency that is missing: no home either way.
    except ImportError:
        return None


def _has(path: str, name: str) -> bool:
    module = _module(path)
    if module is None:
        return False
    # Lazy packages do not have a sub-module as attribute before its first import.
    return hasattr(module, name) or _module(f"{path}.{name}") is not None


def _is_module(path: str, name: str) -> bool:
    return type(getattr(_module(path), name, None)).__name__ == "module"
