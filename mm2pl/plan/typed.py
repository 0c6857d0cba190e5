"""Compare every ``dict(type=X, …)`` of a config with the signature of X."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mm2pl import registry as registries
from mm2pl.closest import closest, did_you_mean, misspelt
from mm2pl.plan.annotations import clearly_wrong, hints_of, words_of
from mm2pl.plan.classes import CLASSES
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, Severity, short
from mm2pl.plan.key import Key
from mm2pl.plan.keys import KEYS, UNSUPPORTED
from mm2pl.plan.tabled import of_key
from mm2pl.plan.values import is_true
from mm2pl.registry import Registry
from mm2pl.registry.errors import RegistryKeyError, accepted_arguments, resembling, where_defined

ROOTS = {r.name: r for r in vars(registries).values() if isinstance(r, Registry)}
"""The root registries by their names."""

# A data set builds these by registries, with the arguments that stand there; so do a Compose and a visualizer.
_SUPPLIED = {"vis_backend": ("save_dir",)}
"""What a class gives to the parts that it builds."""

_PARTS = {
    "dataset": {"pipeline": "transform", "dataset": "dataset", "datasets": "dataset"},
    "visualizer": {"vis_backends": "vis_backend"},
    "model": {"data_preprocessor": "model"},
}
# How a class is known to build its parts so: a user's own may read the same words otherwise.
_BUILDERS = {"dataset": "full_init", "model": "train_step", "visualizer": "add_scalars"}
_NOT_ARGUMENTS = ("type", "_scope_")


class Types:
    """The types of one config.

    Args:
        config: Its keys.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        scope = config.get("default_scope", "mmengine")
        self.scope = scope if isinstance(scope, str) else None
        # Of a module that is not imported nobody knows what it registers.
        imports = config.get("custom_imports")
        modules = imports.get("imports") if isinstance(imports, Mapping) else None
        modules = [modules] if isinstance(modules, str) else modules or []
        self.all_known = all(module in sys.modules for module in modules)
        # A file with a model and nothing to do with it is a part of a config, and another part may name the scope.
        loops = ("train_cfg", "val_cfg", "test_cfg")
        self.is_run = "default_scope" in config or any(loop in config for loop in loops)
        self._missing: set[str | None] = set()
        # Registry and scope → why the modules that register something there cannot be imported.
        self._broken: dict[tuple[str, str | None], Exception] = {}
        self._told: set[str] = set()
        self._found: dict[tuple[str, str, str | None], tuple[Any, tuple[str, str] | None]] = {}

    def faults(self) -> Iterator[Fault]:
        """Yield what is wrong with the types and their arguments."""
        for name, value in self.config.items():
            if name in KEYS:
                yield from self._key(KEYS[name], name, value)

    def _key(self, key: Key, path: str, value: object) -> Iterator[Fault]:
        if key.registry:
            for where, cfg in typed_dicts(path, value, bool(key.kind)):
                yield from self._built(key, where, cfg)
        if key.inside is not None and isinstance(value, Mapping):
            for name, inner in key.inside.keys.items():
                if name in value and inner.registry:
                    yield from self._key(inner, join(path, name), value[name])
        elif key.inside is not None and key.inside.keys and isinstance(value, list | tuple):
            for number, item in enumerate(value):
                yield from self._key(key, join(path, number), item)

    def _built(self, key: Key, path: str, cfg: Mapping[str, Any]) -> Iterator[Fault]:
        name = key.registry
        # `val_evaluator=dict(type='Evaluator', metrics=…)` is the evaluator itself.
        if name == "metric" and "metrics" in cfg:
            name = "evaluator"
        kind = cfg.get("type", key.kind)
        if name == "optim_wrapper" and cfg.get("constructor") is not None:
            yield from self._name("optimizer wrapper constructor", path, "constructor", cfg)
        # MMEngine builds the wrapper only where it knows the one optimizer.
        if name == "optim_wrapper" and cfg.get("optimizer") is None:
            return
        if name == "loop" and "type" not in cfg:
            return
        known = {*_NOT_ARGUMENTS, *key.taken}
        arguments = {k: v for k, v in cfg.items() if k not in known}
        yield from self._call(name, kind, path, arguments, key.supplied, cfg.get("_scope_"))

    def _name(
        self, registry: str, path: str, entry: str, cfg: Mapping[str, Any]
    ) -> Iterator[Fault]:
        """Check an entry that is the name of a class, whose arguments stand elsewhere."""
        _, problem = self._look_up(ROOTS[registry], cfg[entry], cfg.get("_scope_"))
        if problem is not None:
            accepted, advice = problem
            given = short(cfg[entry])
            yield Fault(path=join(path, entry), given=given, accepted=accepted, advice=advice)

    def _call(
        self,
        name: str,
        kind: Any,
        path: str,
        arguments: Mapping[str, Any],
        supplied: Sequence[str] = (),
        scope: str | None = None,
    ) -> Iterator[Fault]:
        """Check one call of a type that is looked up in the registry ``name``."""
        if isinstance(kind, str) and kind in UNSUPPORTED:
            return
        factory, problem = self._look_up(ROOTS[name], kind, scope)
        if problem is not None:
            accepted, advice = problem
            yield Fault(
                path=join(path, "type"), given=short(kind), accepted=accepted, advice=advice
            )
        error = self._broken.get((name, scope or self.scope))
        if error is not None and str(error) not in self._told:
            self._told.add(str(error))
            yield _broken(join(path, "type"), kind, error)
        if factory is not None:
            if name == "parameter scheduler" and _is_torchs(factory):
                yield _torchs_schedule(path, kind)
                return
            yield from _arguments(name, factory, path, arguments, supplied)
        yield from self._parts(name, factory, path, arguments)

    def _parts(
        self, name: str, factory: Any, path: str, arguments: Mapping[str, Any]
    ) -> Iterator[Fault]:
        """Check what stands inside a call: exactly where it is known who builds it, else by near misses."""
        known = _PARTS.get(name, {}) if hasattr(factory, _BUILDERS.get(name, "")) else {}
        for argument, value in arguments.items():
            for where, cfg in typed_dicts(join(path, argument), value):
                inner = {k: v for k, v in cfg.items() if k not in _NOT_ARGUMENTS}
                if argument in known:
                    part = known[argument]
                    supplied = _SUPPLIED.get(part, ())
                    scope = cfg.get("_scope_")
                    yield from self._call(part, cfg["type"], where, inner, supplied, scope)
                else:
                    yield from self._guessed(cfg["type"], where, inner, cfg.get("_scope_"))

    def _guessed(
        self, kind: Any, path: str, arguments: Mapping[str, Any], scope: str | None
    ) -> Iterator[Fault]:
        """Check a call of a type that somebody builds, from a registry or not: only a near miss is certainly wrong."""
        factories = []
        for registry in ROOTS.values():
            factory, _ = self._look_up(registry, kind, scope)
            if factory is not None and factory not in factories:
                factories.append(factory)
        accepted = [accepted_arguments(factory) for factory in factories]
        for argument, value in arguments.items():
            if factories and all(known is not None and argument not in known for known in accepted):
                names = [name for known in accepted for name in known or ()]
                if meant := misspelt(str(argument), [n for n in names if n not in arguments]):
                    note = f"unknown to {_named(factories[0])}.{did_you_mean([meant])}"
                    where = join(path, argument)
                    yield Fault(path=where, given=short(value), advice=note, severity="warning")
        yield from self._parts("", None, path, arguments)

    def _look_up(
        self, registry: Registry, kind: Any, scope: str | None
    ) -> tuple[Any, tuple[str, str] | None]:
        """Return what a ``type`` means, if it can be known, or what is accepted in its place and what to do."""
        if not isinstance(kind, str):
            known = callable(kind)
            words = "a registered name, an import path, a class or a function"
            return (kind if known else None), (None if known else (words, ""))
        scope = scope or self.scope
        # A scope that is not installed is looked for, and not found, for as long as an import takes.
        if scope in self._missing or (registry.name, scope) in self._broken:
            return None, None
        asked = (registry.name, kind, scope)
        if asked not in self._found:
            self._found[asked] = self._named(registry, kind, scope)
        return self._found[asked]

    def _named(
        self, registry: Registry, kind: str, scope: str | None
    ) -> tuple[Any, tuple[str, str] | None]:
        try:
            with registry.switch_scope_and_registry(scope) as scoped:
                found = scoped.get(kind)
                if found is not None or not self._must_be_known(kind, scoped):
                    return found, None
                hints = resembling(kind, scoped)
                if near := where_defined(kind, scoped):
                    hints.append(near)
        # No registry has the scope: its package is not installed here.
        except RegistryKeyError:
            self._missing.add(scope)
            return None, None
        # A module that the look-up imports may fail in any way; building says how.
        except Exception as error:
            # A short name is imported from nowhere: what fails is the registry's own modules, for each name anew.
            if "." not in kind:
                self._broken[registry.name, scope] = error
            return None, None
        words = f"a name of the {scoped.scope}::{scoped.name} registry or an import path"
        hint = " ".join(hints) or "import the module that registers it: custom_imports"
        return None, (words, hint)

    def _must_be_known(self, kind: str, registry: Registry) -> bool:
        """Return whether what registers ``kind`` would have been imported by now."""
        package, dot, _ = kind.partition(".")
        # A scope or an import path of a package that is not installed here.
        return self.is_run and self.all_known and (not dot or package in sys.modules)


def typed_dicts(
    path: str, value: object, untyped: bool = False
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the outermost dicts with a ``type`` in a value: itself, or in its lists and dicts.

    Args:
        path: Of the value.
        value: Any part of a config.
        untyped: The value itself counts without a ``type`` too.

    >>> [path for path, _ in typed_dicts("a", [{"type": "X"}, {"b": {"type": "Y"}}])]
    ['a.0', 'a.1.b']
    """
    if isinstance(value, Mapping):
        if value.get("type") is not None or untyped:
            yield path, value
            return
        for name, item in value.items():
            yield from typed_dicts(join(path, name), item)
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from typed_dicts(join(path, i), item)


def _parameters(factory: Any) -> Mapping[str, inspect.Parameter] | None:
    try:
        return inspect.signature(factory).parameters
    # Some classes that are written in C do not tell their signature.
    except (TypeError, ValueError):
        return None


def _arguments(
    name: str,
    factory: Any,
    path: str,
    arguments: Mapping[str, Any],
    supplied: Sequence[str],
) -> Iterator[Fault]:
    """Compare the arguments of a call with the signature of what is called."""
    parameters = _parameters(factory)
    if parameters is None:
        return
    known = CLASSES.get(name, {}).get(_named(factory)) if _is_ours(factory) else None
    accepted = accepted_arguments(factory)
    # A class that takes any argument, and hands it to one that we know.
    if accepted is None and known is not None and known.closed:
        own = [n for n, p in parameters.items() if p.kind is not p.VAR_KEYWORD]
        accepted = [*dict.fromkeys([*own, *known.keys, *supplied])]
    for argument in arguments if accepted is not None else ():
        if argument not in accepted:  # type: ignore[operator]
            hint = did_you_mean(closest(argument, accepted or (), 1))
            names = ", ".join(n for n in accepted or () if n not in supplied) or "no argument"
            note = f"unknown to {_named(factory)} → {names}.{hint}"
            yield Fault(path=join(path, argument), given=short(arguments[argument]), advice=note)
    first = next(iter(parameters), "")
    # An optimizer may call its parameters otherwise, and MMEngine gives them by that name.
    given = {*arguments, *supplied, *([first] if "params" in supplied else [])}
    # A function is called later, by torch's DataLoader, with what it still needs.
    missing = [
        n
        for n, p in parameters.items()
        if name != "function"
        and p.default is p.empty
        and n not in given
        and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    if missing:
        note = f"{_named(factory)} needs {', '.join(missing)} → add {missing[0]}=…"
        yield Fault(path=path, given=short(dict(arguments)), advice=note)
    hints = hints_of(factory)
    for argument, value in arguments.items():
        if known is not None and argument in known.keys:
            yield from of_key(known.keys[argument], join(path, argument), value)
        elif (
            argument in parameters
            # Toolboxes declare a dict where they take a list too; a text in the place of a number is none.
            and (isinstance(value, str) or _is_ours(factory))
            and clearly_wrong(value, hints.get(argument, Any), parameters[argument].default)
        ):
            yield _wrong_kind(factory, join(path, argument), value, hints[argument])


def _wrong_kind(factory: Any, path: str, value: object, hint: Any) -> Fault:
    ours, words = _is_ours(factory), words_of(hint)
    if ours and hint in (bool, "bool"):
        note = f"MMEngine takes it for {is_true(value)}"
        return Fault(
            path=path,
            given=short(value),
            accepted="True or False",
            advice=note,
            severity="warning",
        )
    # What a class of the user's declares is not what it checks: MMEngine calls it all the same.
    note = "" if ours else f"as {_named(factory)} declares it"
    severity: Severity = "error" if ours else "warning"
    return Fault(path=path, given=short(value), accepted=words, advice=note, severity=severity)


def _broken(path: str, kind: Any, error: Exception) -> Fault:
    why = f"what registers it cannot be imported: {type(error).__name__}: {error}"
    advice = "install what is missing; types were not compared"
    return Fault(path=path, given=short(kind), why=why, advice=advice, severity="warning")


def _named(factory: Any) -> str:
    return getattr(factory, "__name__", repr(factory))


def _is_ours(factory: Any) -> bool:
    return getattr(factory, "__module__", "").partition(".")[0] == __name__.partition(".")[0]


def _is_torchs(factory: Any) -> bool:
    """Return whether a scheduler schedules a torch optimizer itself."""
    return hasattr(factory, "get_last_lr") and not hasattr(factory, "get_last_value")


def _torchs_schedule(path: str, kind: Any) -> Fault:
    short_name = _named(kind) if not isinstance(kind, str) else kind.rpartition(".")[2]
    ours = ROOTS["parameter scheduler"].get(short_name)
    use = f"type={short_name!r}, MMEngine's" if ours is not None else "one of MMEngine's"
    note = f"torch's schedulers take a torch optimizer, and a param_scheduler schedules the wrapper → {use}"
    return Fault(path=join(path, "type"), given=repr(kind), advice=note)
