"""What registries and default scopes hold, saved and restored around packages that are loaded for a while."""

from __future__ import annotations

from typing import Any

from mm2pl.registry.default_scope import DefaultScope
from mm2pl.registry.registry import Registry

State = tuple[dict[str, Any], dict[str, Registry], bool]


def save_registries() -> dict[Registry, State]:
    """Return what each registry there is holds: its names, its children, and whether it has imported them."""
    return {
        registry: (dict(registry.module_dict), dict(registry._children), registry._imported)
        for registry in Registry._all
    }


def restore_registries(saved: dict[Registry, State] | None, packages: set[str]) -> None:
    """Let registries hold again what they held, and what mm2pl itself has registered since.

    Args:
        saved: By :func:`save_registries`; None if this module was not loaded then.
        packages: Their registries are forgotten.
    """
    known = saved or {}
    for registry in list(Registry._all):
        own = getattr(registry, "_own", None)
        if registry in known:
            names, children, imported = known[registry]
        elif own is not None:  # a root registry: mm2pl.registry was not loaded yet
            names, children, imported = {}, {}, registry._imported
        else:
            if registry._scope in packages:
                Registry._all.discard(registry)
            continue
        # In place: a MirrorRegistry shares this dict with MMEngine's registry.
        registry._module_dict.clear()
        registry._module_dict.update({**(own or {}), **names})
        registry._children.clear()
        registry._children.update(children)
        # Our own modules stay imported, so a root registry must not import them again.
        registry._imported = imported if own is None else registry._imported


def save_scopes() -> dict[str, Any]:
    """Return the default scopes that were set."""
    return dict(DefaultScope._instance_dict)


def restore_scopes(saved: dict[str, Any] | None, packages: set[str]) -> None:
    """Forget the default scopes that were set since."""
    DefaultScope._instance_dict.clear()
    DefaultScope._instance_dict.update(saved or {})
