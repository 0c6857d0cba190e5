"""What a failed look-up or a failed constructor tells the user."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm2pl.closest import closest, did_you_mean
from mm2pl.errors import ArgumentError, ReadableKeyError, add_note
from mm2pl.utils.package_utils import MODULE2PACKAGE
from mm2pl.utils.sources import exports

if TYPE_CHECKING:
    from mm2pl.registry.registry import Registry

MISTAKEN_NAMES = {
    # Tutorials of MMEngine
    "SchedulerStepHook": "ParamSchedulerHook",
    "LinearLRScheduler": "LinearLR",
    # MMCV 1.x
    "EpochBasedRunner": "EpochBasedTrainLoop",
    "IterBasedRunner": "IterBasedTrainLoop",
    "TextLoggerHook": "LoggerHook",
    "TensorboardLoggerHook": "TensorboardVisBackend",
    "WandbLoggerHook": "WandbVisBackend",
    "MlflowLoggerHook": "MLflowVisBackend",
    "OptimizerHook": "OptimWrapper",
    "GradientCumulativeOptimizerHook": "OptimWrapper",
    "Fp16OptimizerHook": "AmpOptimWrapper",
    "DefaultOptimizerConstructor": "DefaultOptimWrapperConstructor",
    "LrUpdaterHook": "ParamSchedulerHook",
    "CosineAnnealingLrUpdaterHook": "CosineAnnealingLR",
    "PolyLrUpdaterHook": "PolyLR",
    "StepLrUpdaterHook": "MultiStepLR",
}
"""Names that people write, and what the thing is called."""

MISTAKEN_ENDINGS = {"LRScheduler": "LR", "MomentumScheduler": "Momentum", "Param": "ParamScheduler"}

SUBSTITUTES = (
    "torch.optim.lr_scheduler",
    "lightning.pytorch.callbacks",
    "lightning.pytorch.loggers",
    "lightning.pytorch.strategies",
    "lightning.pytorch.profilers",
    "torchmetrics",
    "torchmetrics.classification",
)
"""Modules whose classes have no short name here."""

_LIBRARIES = {module.partition(".")[0] for module in SUBSTITUTES}

_IMPORT = (
    "If it is defined in a module of yours, that module must be imported first: "
    "custom_imports=dict(imports=['{0}']) in the config, or `import {0}` in code."
)

# The working directory may be large, and a misspelt name must not make the program read all of it.
_MAX_FILES = 500


class RegistryKeyError(ReadableKeyError):
    """A name that a registry does not have, or has already."""


def unknown_scope(
    scope: str, scopes: Iterable[str], problem: ImportError | None
) -> RegistryKeyError:
    """Say that no registry has the default scope."""
    parts = [f"No registry has the scope {scope!r} (default_scope or _scope_)."]
    if problem is not None:
        parts.append(f"Importing {scope}.registry failed: {problem}.")
    elif scope in MODULE2PACKAGE:
        parts.append(f"Install it with `pip install {MODULE2PACKAGE[scope]}`.")
    parts.append(
        f"Known scopes: {', '.join(sorted(scopes))}.{did_you_mean(closest(scope, scopes))}"
    )
    parts.append(
        f"Make one with Registry(..., parent=MODELS, scope={scope!r}) in {scope}/registry.py, "
        "or leave default_scope out."
    )
    return RegistryKeyError(" ".join(parts))


class NotRegisteredError(RegistryKeyError):
    """Say where a name was looked for, what resembles it, and what would register it.

    That takes a search, which is made when the message is read: many a caller only catches it.
    """

    def __init__(self, key: str, registry: Registry) -> None:
        super().__init__(f"{key} is not in the {registry.scope}::{registry.name} registry.")
        self.key, self.registry = key, registry

    def __str__(self) -> str:
        key, registry = self.key, self.registry
        lines = [self.args[0], *_searched(key, registry), *resembling(key, registry)]
        if not _registries_with(key.rpartition(".")[2], registry):
            lines.append(where_defined(key, registry) or _IMPORT.format("my_package.my_module"))
        return "\n".join(lines)

    # Unpickling would otherwise call this class with the message alone. Worker processes send errors pickled.
    def __reduce__(self) -> tuple[type[RegistryKeyError], tuple[str]]:
        return RegistryKeyError, (str(self),)


def _chain(registry: Registry | None) -> list[Registry]:
    return [] if registry is None else [registry, *_chain(registry.parent)]


def _searched(key: str, registry: Registry) -> list[str]:
    where = ", ".join(f"{r.scope}::{r.name} ({len(r)} names)" for r in _chain(registry))
    scope = registry.split_scope_key(key)[0]
    if scope is None:
        return [f"Searched: {where}."]
    return [
        f"Searched: {where}; the scope {scope!r}; the import path {key!r}.",
        *_import_problem(key),
    ]


def _import_problem(path: str) -> list[str]:
    """Import ``path`` once more to learn what kept it from importing."""
    module, _, name = path.rpartition(".")
    try:
        import_module(module)
    except ImportError as problem:
        scope = path.partition(".")[0]
        if scope in MODULE2PACKAGE and getattr(problem, "name", None) == scope:
            return [f"{scope} is not installed: `pip install {MODULE2PACKAGE[scope]}`."]
        return [f"Importing {module} failed: {problem}."]
    close = did_you_mean(_meant(name, vars(sys.modules[module])))
    return [f"The module {module} has no {name}.{close}"]


def _registered(registry: Registry) -> Iterable[str]:
    return registry.module_dict


def resembling(
    key: str, registry: Registry, names_in: Callable[[Registry], Iterable[str]] = _registered
) -> list[str]:
    """Return sentences on what a name that ``registry`` does not have may stand for.

    Args:
        key: The name.
        registry: Where it was looked for.
        names_in: Returns the names of a registry; default: those that are registered by now.
    """
    name = key.rpartition(".")[2]
    names = {n for r in _chain(registry) for n in names_in(r)}
    found = _registries_with(name, registry, names_in)
    if name in names:
        return [f"{name} without {key.removesuffix(name)!r} is in {', '.join(found)}."]
    lines = [close.strip()] if (close := did_you_mean(_meant(name, names))) else []
    if found:
        lines.append(f"{name} is registered in {', '.join(found)}, which was not searched.")
    # The other registries with this name; one for another kind of object would not help.
    for scope in sorted(found_in.partition("::")[0] for found_in in found):
        if f"{scope}::{registry.name}" in found:
            lines.append(f"Write type='{scope}.{name}', or default_scope='{scope}'.")
            break
    # A param_scheduler schedules the wrapper, which torch's own schedulers do not take.
    for module in SUBSTITUTES if registry.name != "parameter scheduler" else ():
        if name in exports(module):
            lines.append(f"For {module.partition('.')[0]}'s, write type='{module}.{name}'.")
            break
    return lines


def _registries_with(
    name: str, registry: Registry, names_in: Callable[[Registry], Iterable[str]] = _registered
) -> list[str]:
    # By its type, since registry.py imports this file.
    everywhere = list(type(registry)._all)
    return sorted({f"{r.scope}::{r.name}" for r in everywhere if name in names_in(r)})


def _meant(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that ``name`` may stand for: first what a tutorial calls so, then what resembles it."""
    names = [n for n in names if not n.startswith("_")]
    known = MISTAKEN_NAMES.get(name)
    for ending, right in MISTAKEN_ENDINGS.items():
        if known is None and name.endswith(ending):
            known = next((n for n in names if n == name.removesuffix(ending) + right), None)
    return list(dict.fromkeys(filter(None, [known, *closest(name, names)])))


def where_defined(
    key: str, registry: Registry, names_in: Callable[[Registry], Iterable[str]] = _registered
) -> str | None:
    """Return what would register a class of the user's; None if some registry has it, or no file near defines it.

    The arguments are those of :func:`resembling`.
    """
    name = key.rpartition(".")[2]
    if _registries_with(name, registry, names_in):
        return None
    if module := _defined_in_sys_modules(name):
        return f"{module} defines {name} but does not register it: @...register_module() there."
    module = _defined_near(name)
    # It may have no decorator either; an import path needs none.
    return f"{_IMPORT.format(module)} Or type='{module}.{name}'." if module else None


def _defined_in_sys_modules(name: str) -> str | None:
    for module_name, module in list(sys.modules.items()):
        # Nobody can register a class there.
        if module_name.partition(".")[0] in _LIBRARIES:
            continue
        # Reading __dict__ keeps lazy modules lazy.
        found = getattr(module, "__dict__", {}).get(name)
        if callable(found) and getattr(found, "__module__", None) == module_name:
            return module_name
    return None


def _defined_near(name: str) -> str | None:
    """Return the module below the working directory whose source defines ``name``."""
    define = re.compile(rf"^(?:class|def) {re.escape(name)}\b", re.MULTILINE)
    here = Path.cwd()
    files = [*here.glob("*.py"), *here.glob("*/*.py"), *here.glob("*/*/*.py")][:_MAX_FILES]
    for file in files:
        try:
            if define.search(file.read_text(encoding="utf-8")):
                return ".".join(file.relative_to(here).with_suffix("").parts)
        except (OSError, UnicodeDecodeError):
            continue
    return None


def accepted_arguments(factory: Callable[..., Any]) -> list[str] | None:
    """Return the keyword arguments of ``factory``; None if it takes any, or does not say."""
    try:
        parameters = inspect.signature(factory).parameters.values()
    # Some classes that are written in C do not tell their signature.
    except (TypeError, ValueError):
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]


def explain_failure(
    error: Exception, factory: Callable[..., Any], args: Iterable[str], registry: Registry
) -> None:
    """Note on ``error`` which ``type`` was being built.

    Raises:
        TypeError: From ``error``, if an argument is unknown, with those that are accepted.
    """
    name = getattr(factory, "__name__", repr(factory))
    module = getattr(factory, "__module__", "?")
    accepted = accepted_arguments(factory) if isinstance(error, TypeError) else None
    # The error tells the name only in its text, where Python puts it in quotes.
    unknown = [a for a in args if a not in (accepted or ()) and repr(a) in str(error)]
    where = f"type={name!r} of the {registry.scope}::{registry.name} registry ({module}.{name})"
    if accepted is None or not unknown:
        add_note(error, f"While building {where}.")
        return
    close = did_you_mean(match for argument in unknown for match in closest(argument, accepted))
    raise ArgumentError(
        f"{name}() got an unexpected keyword argument {', '.join(map(repr, unknown))}, building "
        f"{where}. Accepted: {', '.join(accepted) or 'none'}.{close}"
    ) from error
