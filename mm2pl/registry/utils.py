"""Statistics of the registries, and setting the default scope."""

from __future__ import annotations

import datetime
import json
import logging
from pathlib import Path
from typing import Any

from mm2pl.logging import print_log
from mm2pl.registry import root
from mm2pl.registry.default_scope import DefaultScope
from mm2pl.registry.registry import Registry


def traverse_registry_tree(registry: Registry, verbose: bool = True) -> list[dict[str, Any]]:
    """Describe every registry of the tree that ``registry`` is in, depth first.

    Each is ``{'num_modules': …, 'scope': …, '<folder of a module>': [names]}``.

    With ``verbose`` one line of the log tells the size of each.
    """
    found: list[dict[str, Any]] = []

    def visit(node: Registry) -> None:
        info: dict[str, Any] = {"num_modules": len(node), "scope": node.scope}
        for name, module in node.module_dict.items():
            info.setdefault("/".join(module.__module__.split(".")[:-1]), []).append(name)
        found.append(info)
        if verbose:
            _log(f"Find {len(node)} modules in {node.scope}'s '{node.name}' registry")
        for child in node.children.values():
            visit(child)

    visit(registry.root)
    return found


def count_registered_modules(save_path: str | None = None, verbose: bool = True) -> dict[str, Any]:
    """Describe all root registries and their children, with mm2pl's own modules imported.

    With ``save_path`` the result also goes to ``<save_path>/modules_statistic_results.json``.

    With ``verbose`` it is logged.
    """
    # MMEngine 0.10.7 goes through dir(), which is sorted.
    roots = {name: r for name, r in sorted(vars(root).items()) if isinstance(r, Registry)}
    for registry in roots.values():
        registry.import_from_location()
    registries = {name: traverse_registry_tree(r, verbose) for name, r in roots.items()}
    now = datetime.datetime.now().strftime("%Y-%m-%d %H:%M:%S")
    scan = {"scan_date": now, "registries": registries}
    if verbose:
        _log(f"Finish registry analysis, got: {scan}")
    if save_path is not None:
        path = Path(save_path, "modules_statistic_results.json")
        path.write_text(json.dumps(scan, indent=2), encoding="utf-8")
        if verbose:
            _log(f"Result has been saved to {path}")
    return scan


def init_default_scope(scope: str) -> None:
    """Make ``scope`` the default scope; a change of an earlier one is told."""
    current = DefaultScope.get_current_instance()
    if current is None or not DefaultScope.check_instance_created(scope):
        DefaultScope.get_instance(scope, scope_name=scope)
    elif current.scope_name != scope:
        _log(
            f'The current default scope "{current.scope_name}" is not "{scope}", '
            f'`init_default_scope` will force set the current default scope to "{scope}".',
            logging.WARNING,
        )
        # Under its own name there is an instance already, which would not become the current one.
        DefaultScope.get_instance(f"{scope}-{datetime.datetime.now()}", scope_name=scope)


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger="current", level=level)
