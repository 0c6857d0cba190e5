"""The config that a run has left, read as data: nothing in it is executed."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml


def read_config(path: Path | None) -> dict[str, Any]:
    """Return the content of a config as it is dumped; empty if there is none, or if it is damaged.

    What is not a literal or a ``dict(…)`` in a Python file stands there as its source text.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".py":
            return _python(text)
        found = json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, SyntaxError, RecursionError, yaml.YAMLError):
        return {}
    return found if isinstance(found, dict) else {}


def _python(text: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = _value(node.value)
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("dict", "ConfigDict"):
        return {str(each.arg): _value(each.value) for each in node.keywords}
    if isinstance(node, ast.Dict):
        pairs = zip(node.keys, node.values, strict=True)
        return {_value(key): _value(value) for key, value in pairs if key is not None}
    if isinstance(node, ast.List | ast.Tuple):
        values = [_value(each) for each in node.elts]
        return tuple(values) if isinstance(node, ast.Tuple) else values
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return ast.unparse(node)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a config by their paths; what is empty is a value.

    >>> dict(leaves({"a": {"b": 1, "c": [2, {}]}}))
    {'a.b': 1, 'a.c.0': 2, 'a.c.1': {}}
    """
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list | tuple) and value:
        for index, below in enumerate(value):
            yield from leaves(below, f"{path}.{index}")
    else:
        yield path, value


_MISSING = object()


def value_at(config: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at a path such as ``train_dataloader.dataset.pipeline.0.type``.

    >>> value_at({"hooks": [{"type": "EMAHook"}]}, "hooks.0.type"), value_at({}, "hooks.0.type", "none")
    ('EMAHook', 'none')
    """
    found: Any = config
    for name in path.split("."):
        if isinstance(found, Mapping):
            found = found.get(name, _MISSING)
        elif isinstance(found, list | tuple) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return default
        if found is _MISSING:
            return default
    return found
