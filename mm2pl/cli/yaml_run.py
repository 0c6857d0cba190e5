"""YAML and JSON files in LightningCLI's form, and the config that one with a run was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.config import Config
from mm2pl.fileio import load
from mm2pl.plan.translate import whole_config
from mm2pl.utils import get_object_from_string

RUN = "mm2pl.lightning.RunCallback"

PARTS = ("model", "data")
"""What LightningCLI builds next to the Trainer."""

_ONLY_LIGHTNINGS = ("trainer", "seed_everything", "ckpt_path")
SECTIONS = (*_ONLY_LIGHTNINGS, *PARTS)
"""The top level of LightningCLI's YAML."""


def is_lightnings(content: object) -> bool:
    """Return whether the content of a YAML or JSON file is in LightningCLI's form rather than MMEngine's.

    >>> is_lightnings({"model": {"type": "Net"}}), is_lightnings({"model": {"init_args": {}}})
    (False, True)
    """
    # An MMEngine config may be YAML or JSON too; it says `type` where LightningCLI says `class_path`.
    return isinstance(content, dict) and (
        not content.keys().isdisjoint(_ONLY_LIGHTNINGS)
        or any(
            isinstance(content.get(part), dict)
            and not content[part].keys().isdisjoint(("class_path", "init_args"))
            for part in PARTS
        )
    )


def content_of(path: str) -> dict[str, Any] | None:
    """Return the content of a file in LightningCLI's form; ``None`` for an MMEngine config."""
    if not path.endswith((".yaml", ".yml", ".json")):
        return None
    try:
        content = load(path)
    # Each format has errors of its own, and an MMEngine config may have {{ … }} in it: its reader says what is wrong.
    except Exception:
        return None
    return content if is_lightnings(content) else None


def run_of_yaml(content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the callback of a YAML that is a run, if it has one."""
    trainer = content.get("trainer")
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    found = (c for c in callbacks or [] if isinstance(c, dict) and names_run(c.get("class_path")))
    return next(found, None)


def names_run(path: object) -> bool:
    """Return whether a ``class_path`` is that of a run's callback, by one of its two paths or that of a subclass."""
    if not isinstance(path, str) or ("RunCallback" not in path and not path.count(".")):
        return False
    if path.startswith(("lightning.", "pytorch_lightning.")):
        return False
    run = get_object_from_string(RUN)
    given = run if path == "RunCallback" else get_object_from_string(path)
    return isinstance(given, type) and issubclass(given, run)


def config_of_yaml(content: Mapping[str, Any], path: str | None) -> Config:
    """Put the config together again that a YAML in LightningCLI's form was made from."""
    run = (run_of_yaml(content) or {}).get("init_args") or {}
    parts = ((content.get(part) or {}).get("init_args") or {} for part in PARTS)
    return Config(whole_config(run, *parts), filename=run.get("filename") or path)
