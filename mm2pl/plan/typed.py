"""Compare every ``dict(type=X, …)`` of a config with the signature of X."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mm2pl.closest import closest, did_you_mean, misspelt
from mm2pl.plan.classes import CLASSES
from mm2pl.plan.containers import join
from mm2pl.plan.fault import Fault, Severity, short
from mm2pl.plan.key import Key
from mm2pl.plan.keys import KEYS, UNSUPPORTED
from mm2pl.plan.registered import ROOTS, names_in, taken_by_type
from mm2pl.plan.tabled import of_key
from mm2pl.plan.takes import Takes, taken_by
from mm2pl.plan.values import is_true
from mm2pl.registry import OPTIMIZERS, Registry
from mm2pl.registry.errors import RegistryKeyError, resembling, where_defined

_SUPPLIED = {"vis_backend": ("save_dir",)}
"""What a class gives to the parts that it builds."""

# A data set builds these by registries, with the arguments that stand there; so do a Compose and a visualizer.
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
        self._found: dict[tuple[str, str, str | None], tuple[Takes | None, bool]] = {}

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
        _, wrong = self.look_up(ROOTS[registry], cfg[entry], cfg.get("_scope_"))
        if wrong:
            where = join(path, entry)
            yield from self._unknown(ROOTS[registry], cfg[entry], where, cfg.get("_scope_"))

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
        known, wrong = self.look_up(ROOTS[name], kind, scope)
        if wrong:
            yield from self._unknown(ROOTS[name], kind, join(path, "type"), scope)
        error = self._broken.get((name, scope or self.scope))
        if error is not None and str(error) not in self._told:
            self._told.add(str(error))
            yield _broken(join(path, "type"), kind, error)
        if known is not None:
            if name == "parameter scheduler" and _is_torchs(known):
                yield _torchs_schedule(path, kind)
                return
            yield from _arguments(name, known, path, arguments, supplied)
        yield from self._parts(name, known, path, arguments)

    def _parts(
        self, name: str, builder: Takes | None, path: str, arguments: Mapping[str, Any]
    ) -> Iterator[Fault]:
        """Check what stands inside a call: exactly where it is known who builds it, else by near misses."""
        is_known = builder is not None and _BUILDERS.get(name) in builder.methods
        known = _PARTS[name] if is_known else {}
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
        found: list[Takes] = []
        for registry in ROOTS.values():
            known, _ = self.look_up(registry, kind, scope)
            if known is not None and known not in found:
                found.append(known)
        for argument, value in arguments.items():
            if found and all(
                known.accepted is not None and argument not in known.accepted for known in found
            ):
                names = [name for known in found for name in known.accepted or ()]
                if meant := misspelt(str(argument), [n for n in names if n not in arguments]):
                    note = f"unknown to {found[0].name}.{did_you_mean([meant])}"
                    where = join(path, argument)
                    yield Fault(path=where, given=short(value), advice=note, severity="warning")
        yield from self._parts("", None, path, arguments)

    def look_up(
        self, registry: Registry, kind: Any, scope: str | None
    ) -> tuple[Takes | None, bool]:
        """Return what a ``type`` takes, if that can be known, and whether it is certainly wrong."""
        if not isinstance(kind, str):
            return (taken_by(kind), False) if callable(kind) else (None, True)
        scope = scope or self.scope
        # A scope that is not installed is looked for, and not found, for as long as an import takes.
        if scope in self._missing or (registry.name, scope) in self._broken:
            return None, False
        asked = (registry.name, kind, scope)
        if asked not in self._found:
            self._found[asked] = self._named(registry, kind, scope)
        return self._found[asked]

    def _named(self, registry: Registry, kind: str, scope: str | None) -> tuple[Takes | None, bool]:
        try:
            with registry.switch_scope_and_registry(scope) as scoped:
                found = taken_by_type(scoped, kind)
                return found, found is None and self._must_be_known(kind)
        # No registry has the scope: its package is not installed here.
        except RegistryKeyError:
            self._missing.add(scope)
        # A module that the look-up imports may fail in any way; building says how.
        except Exception as error:
            # A short name is imported from nowhere: what fails is the registry's own modules, for each name anew.
            if "." not in kind:
                self._broken[registry.name, scope] = error
        return None, False

    def _unknown(
        self, registry: Registry, kind: Any, path: str, scope: str | None
    ) -> Iterator[Fault]:
        """Say what is accepted in the place of a wrong ``type``."""
        if not isinstance(kind, str):
            words = "a registered name, an import path, a class or a function"
            yield Fault(path=path, given=short(kind), accepted=words)
            return
        scope = scope or self.scope
        with registry.switch_scope_and_registry(scope) as scoped:
            # A torch of another time may have an optimizer that is not found in its sources.
            if registry.name == OPTIMIZERS.name and "." not in kind:
                try:
                    if scoped.get(kind) is not None:
                        return
                except Exception as error:
                    self._broken[registry.name, scope] = error
                    return
            hints = resembling(kind, scoped, names_in)
            if near := where_defined(kind, scoped, names_in):
                hints.append(near)
        words = f"a name of the {scoped.scope}::{scoped.name} registry or an import path"
        hint = " ".join(hints) or "import the module that registers it: custom_imports"
        yield Fault(path=path, given=short(kind), accepted=words, advice=hint)

    def _must_be_known(self, kind: str) -> bool:
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


def _arguments(
    name: str,
    known: Takes,
    path: str,
    arguments: Mapping[str, Any],
    supplied: Sequence[str],
) -> Iterator[Fault]:
    """Compare the arguments of a call with what is taken."""
    table = CLASSES.get(name, {}).get(known.name) if known.ours else None
    accepted = known.accepted
    # A class that takes any argument, and hands it to one that we know.
    if accepted is None and table is not None and table.closed:
        accepted = tuple(dict.fromkeys([*known.names, *table.keys, *supplied]))
    for argument in arguments if accepted is not None else ():
        if argument not in accepted:  # type: ignore[operator]
            hint = did_you_mean(closest(argument, accepted or (), 1))
            names = ", ".join(n for n in accepted or () if n not in supplied) or "no argument"
            note = f"unknown to {known.name} → {names}.{hint}"
            yield Fault(path=join(path, argument), given=short(arguments[argument]), advice=note)
    # An optimizer may call its parameters otherwise, and MMEngine gives them by that name.
    given = {*arguments, *supplied, *(known.names[:1] if "params" in supplied else [])}
    # A function is called later, by torch's DataLoader, with what it still needs.
    missing = [n for n in known.required if name != "function" and n not in given]
    if missing:
        note = f"{known.name} needs {', '.join(missing)} → add {missing[0]}=…"
        yield Fault(path=path, given=short(dict(arguments)), advice=note)
    for argument, value in arguments.items():
        if table is not None and argument in table.keys:
            yield from of_key(table.keys[argument], join(path, argument), value)
        # Toolboxes declare a dict where they take a list too; a text in the place of a number is none.
        elif (isinstance(value, str) or known.ours) and known.refuses(argument, value):
            yield _wrong_kind(known, join(path, argument), argument, value)


def _wrong_kind(known: Takes, path: str, argument: str, value: object) -> Fault:
    if known.ours and argument in known.booleans:
        note = f"MMEngine takes it for {is_true(value)}"
        return Fault(
            path=path,
            given=short(value),
            accepted="True or False",
            advice=note,
            severity="warning",
        )
    words = " or ".join(known.kinds[argument])
    # What a class of the user's declares is not what it checks: MMEngine calls it all the same.
    note = "" if known.ours else f"as {known.name} declares it"
    severity: Severity = "error" if known.ours else "warning"
    return Fault(path=path, given=short(value), accepted=words, advice=note, severity=severity)


def _broken(path: str, kind: Any, error: Exception) -> Fault:
    why = f"what registers it cannot be imported: {type(error).__name__}: {error}"
    advice = "install what is missing; types were not compared"
    return Fault(path=path, given=short(kind), why=why, advice=advice, severity="warning")


def _is_torchs(known: Takes) -> bool:
    """Return whether a scheduler schedules a torch optimizer itself."""
    return "get_last_lr" in known.methods and "get_last_value" not in known.methods


def _torchs_schedule(path: str, kind: Any) -> Fault:
    short_name = getattr(kind, "__name__", str(kind)).rpartition(".")[2]
    ours = taken_by_type(ROOTS["parameter scheduler"], short_name)
    use = f"type={short_name!r}, MMEngine's" if ours is not None else "one of MMEngine's"
    note = f"torch's schedulers take a torch optimizer, and a param_scheduler schedules the wrapper → {use}"
    return Fault(path=join(path, "type"), given=repr(kind), advice=note)
