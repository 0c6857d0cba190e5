"""What a registered class takes, without importing it where that is known.

``registered.json`` describes the classes that mm2pl registers; torch's optimizers are read from their sources. Names of
users and toolboxes are looked up in their registry, and so are classes that are already imported.

``python -m mm2pl.plan.registered`` writes the file anew; a test holds it to the classes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from mm2pl import registry as registries
from mm2pl.plan.takes import Takes, taken_by
from mm2pl.plan.torch_source import constructor_of, sources, taken_by_torchs
from mm2pl.registry import OPTIMIZERS, Registry
from mm2pl.registry.located import locations

ROOTS = {r.name: r for r in vars(registries).values() if isinstance(r, Registry)}
"""The root registries by their names."""

FILE = Path(__file__).with_suffix(".json")


def taken_by_type(registry: Registry, key: str) -> Takes | None:
    """Return what the class takes that ``registry.get(key)`` finds; None if it finds nothing.

    Raises:
        Exception: What a module raises that the look-up imports.
    """
    name, root = registry.awaited(key), registry.root.name
    if name is not None:
        known = ours().get(root, {}).get(name)
        if known is None and _is_torchs(root, name):
            known = taken_by_torchs(name)
        if known is not None:
            return known
        # Behind a prefix it may be an import path too.
        if name == key and not _may_be_registered(root, name):
            return None
    found = registry.get(key)
    return None if found is None else taken_by(found)


def optimizer_of(kind: object) -> Any:
    """Return an optimizer's class, or None; of one of torch's a function with its parameters."""
    if not isinstance(kind, str):
        return kind
    name = OPTIMIZERS.awaited(kind)
    known = None if name is None else constructor_of(name)
    return OPTIMIZERS.get(kind) if known is None else known


def names_in(registry: Registry) -> set[str]:
    """Return the names of a registry, with those that a root registry would register at its first miss."""
    names = {*registry.module_dict}
    if registry is ROOTS.get(registry.name):
        names.update(ours().get(registry.name, {}))
        names.update(sources() if registry.name == OPTIMIZERS.name else ())
    return names


def _may_be_registered(root: str, name: str) -> bool:
    by_name = locations().BY_NAME.get(root, {})
    return name in ours().get(root, {}) or name in by_name or _is_torchs(root, name)


def _is_torchs(root: str, name: str) -> bool:
    return root == OPTIMIZERS.name and name in sources()


@cache
def ours() -> dict[str, dict[str, Takes | None]]:
    """Return what is registered, by registry and name; None for a class that is not mm2pl's own."""
    content = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        root: {name: each and _read(each) for name, each in names.items()}
        for root, names in content.items()
    }


def _read(entry: Mapping[str, Any]) -> Takes:
    lists: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
    lists["kinds"] = {name: tuple(kinds) for name, kinds in entry["kinds"].items()}
    return Takes(ours=True, **lists)


def written() -> str:
    """Return what the file has to say. All that mm2pl registers is imported for that."""
    lines = []
    for root, registry in sorted(ROOTS.items()):
        entries = [f"  {json.dumps(n)}: {json.dumps(e)}" for n, e in sorted(_entries(registry))]
        if entries:
            lines.append(f" {json.dumps(root)}: {{\n" + ",\n".join(entries) + "\n }")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _entries(registry: Registry) -> Iterator[tuple[str, dict[str, Any] | None]]:
    registry.import_from_location()
    by_name = locations().BY_NAME.get(registry.name, {})
    paths = [name for name, path in by_name.items() if path.startswith("mm2pl.")]
    for name in {*registry.module_dict, *paths}:
        known = taken_by(registry.get(name))
        if known.ours:
            yield name, _saved(known)
        elif not _is_torchs(registry.name, name):
            yield name, None


def _saved(known: Takes) -> dict[str, Any]:
    """Return what differs from an empty description of a class of mm2pl's."""
    empty = asdict(Takes(name="", ours=True, kinds={}))
    return {k: v for k, v in asdict(known).items() if k in ("name", "kinds") or v != empty[k]}


if __name__ == "__main__":
    FILE.write_text(written(), encoding="utf-8")
