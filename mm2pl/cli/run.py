"""``mm2pl fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mm2pl.cli import options as flags
from mm2pl.config import Config
from mm2pl.fileio import load


def run(command: str, arguments: list[str]) -> int | None:
    """Run one of the four commands.

    Raises:
        FileNotFoundError: If there is no config.
        ValueError: If options contradict each other or the config.
    """
    options, rest = flags.parse(command, arguments)
    if options.lightning_help:
        return _cli(command, ["--help"])
    if not options.config:
        raise FileNotFoundError(f"mm2pl {command} needs a config → mm2pl {command} CONFIG")
    first, *others = options.config
    overlays = [f"--config={path}" for path in others]
    if is_lightning_yaml(first):
        return _cli(
            command, [f"--config={first}", *overlays, *_run_options(options), *rest], options
        )
    refuse_nested_overrides(rest)
    from mm2pl.lightning.translate import translate

    cfg = flags.apply(options, Config.fromfile(first, **({"safe": True} if options.safe else {})))
    if command == "test" and options.out:
        flags._out(cfg, options.out)
    plan = translate(dotted_names(dict(cfg.items())), filename=str(first))
    skeleton = json.dumps(plan.as_cli(), default=str)
    return _cli(command, [f"--config={skeleton}", *overlays, *rest], options, plan=plan, cfg=cfg)


def _cli(
    command: str, arguments: list[str], options: argparse.Namespace | None = None, **parts: Any
) -> int | None:
    from mm2pl.cli.lightning_cli import MMCLI

    if options is not None and options.print_config:
        arguments = [*arguments, "--print_config"]
    MMCLI(args=[command, *arguments], options=options, **parts)
    return None


def is_lightning_yaml(path: str) -> bool:
    """Say whether a file is in LightningCLI's form rather than MMEngine's.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"the config {path!r} does not exist")
    if not path.endswith((".yaml", ".yml", ".json")):
        return False
    content = load(path)
    return isinstance(content, dict) and (
        "trainer" in content
        or any("class_path" in (content.get(k) or {}) for k in ("model", "data"))
    )


def refuse_nested_overrides(arguments: list[str]) -> None:
    """Refuse ``--model.…`` and ``--data.…`` on an MMEngine config: jsonargparse would replace whole dicts by strings.

    Raises:
        ValueError: Naming the option that does it right.
    """
    for argument in arguments:
        if argument.startswith(("--model", "--data")):
            key = argument.removeprefix("--").split("=")[0].split(".", 1)[-1]
            raise ValueError(
                f"{argument!r} on an MMEngine config → use --cfg-options {key}=… instead"
            )


def _run_options(options: argparse.Namespace) -> list[str]:
    """Apply the options that make sense for a LightningCLI YAML; refuse those that change an MMEngine config."""
    for name in (
        "cfg_options",
        "amp",
        "auto_scale_lr",
        "tta",
        "show_dir",
        "no_validate",
        "launcher",
    ):
        if getattr(options, name, None):
            raise ValueError(
                f"--{name.replace('_', '-')} changes an MMEngine config, and this is LightningCLI YAML → "
                "use --trainer.…, --model.… or --data.… options, or edit the file"
            )
    return []


def dotted_names(value: Any) -> Any:
    """Replace classes and functions of a pure-Python config by their dotted names, all the way down."""
    if isinstance(value, dict):
        return {key: dotted_names(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(dotted_names(item) for item in value)
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return value
