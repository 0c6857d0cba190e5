"""``mm2pl fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import signal
import sys
from pathlib import Path
from typing import Any

from mm2pl.cli import options as flags
from mm2pl.closest import closest, did_you_mean
from mm2pl.config import Config
from mm2pl.fileio import load
from mm2pl.plan.explain import check
from mm2pl.plan.keys import KEYS
from mm2pl.plan.translate import translate

MODULE_KEYS = frozenset(
    {"default_scope", *(name for name, key in KEYS.items() if key.section == "model")}
)
"""Arguments of :class:`~mm2pl.lightning.MMLightningModule` that are top-level keys of a config."""


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
    if command in ("test", "predict") and options.out:
        flags.require_pickle(options.out)
    first, *others = options.config
    overlays = [f"--config={path}" for path in others]
    if is_lightning_yaml(first):
        refuse_config_options(options)
        return _cli(command, [f"--config={first}", *overlays, *rest], options)
    refuse_nested_overrides(rest)
    cfg = flags.apply(options, Config.fromfile(first, safe=options.safe))
    # `predict` has no evaluator; PredictionWriter does it there.
    if command == "test" and options.out:
        flags.write_results(cfg, options.out)
    if options.strict:
        check(dict(cfg.items()), strict=True)
    plan = translate(dotted_names(dict(cfg.items())), filename=str(first))
    # jsonargparse only has to parse it, and the Runner is made from `cfg`: live objects are left out. A YAML that is
    # printed cannot do without them: as text they are refused.
    if not cfg.get("work_dir"):  # OpenMMLab's scripts complete the config so; a Runner wants one
        cfg.work_dir = plan.run["work_dir"]
    skeleton = json.dumps(plan.as_cli(), default=str if options.print_config else lambda live: None)
    return _cli(command, [f"--config={skeleton}", *overlays, *rest], options, plan=plan, cfg=cfg)


def _cli(
    command: str, arguments: list[str], options: argparse.Namespace | None = None, **parts: Any
) -> int | None:
    # Only here: Lightning takes seconds to import, which a mistake in the config or `--help` need not.
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from mm2pl.cli.lightning_cli import MMCLI

    if options is not None and options.print_config:
        arguments = [*arguments, "--print_config"]
    if command == "predict" and options is not None and not options.out:
        print("mm2pl: WARNING: without --out FILE.pkl no prediction is written", file=sys.stderr)
    # The Trainer's usage text fills two hundred lines; jsonargparse 5 will not complete abbreviations any more.
    quiet = {"exit_on_error": False, "allow_abbrev": False}
    try:
        MMCLI(args=[command, *arguments], options=options, parser_kwargs=quiet, **parts)
    except argparse.ArgumentError as error:
        hint = close_option(str(error)) or f"mm2pl {command} --lightning-help lists the options"
        raise ValueError(f"{error} → {hint}") from error
    except SIGTERMException:  # a SystemExit(0): to a shell the run has not succeeded
        return 128 + signal.SIGTERM
    return None


def close_option(message: str) -> str:
    """Return a question about the Trainer's option that a message about an unknown one may mean, or ``""``.

    >>> close_option("unrecognized arguments: --trainer.devics=2")
    'did you mean --trainer.devices?'
    """
    from lightning.pytorch import Trainer

    found = re.search(r"--trainer\.(\w+)", message) if "unrecognized" in message else None
    known = inspect.signature(Trainer).parameters
    close = closest(found[1], known, 1) if found else []
    return f"did you mean --trainer.{close[0]}?" if close else ""


def is_lightning_yaml(path: str) -> bool:
    """Return whether a file is in LightningCLI's form rather than MMEngine's.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    require_config(path)
    if not path.endswith((".yaml", ".yml", ".json")):
        return False
    content = load(path)
    # An MMEngine config may be YAML or JSON too; it says `type` where LightningCLI says `class_path`.
    return isinstance(content, dict) and (
        "trainer" in content
        or any("class_path" in (content.get(k) or {}) for k in ("model", "data"))
    )


def require_config(path: str) -> None:
    """Refuse a config that is not there.

    Raises:
        FileNotFoundError: Naming configs with a similar name, if there are any.
    """
    file = Path(path)
    if file.is_file():
        return
    if file.is_dir():
        raise FileNotFoundError(f"{path!r} is a folder → name a config file in it.")
    names = [
        other.name for other in file.parent.glob("*") if other.suffix in (".py", ".yaml", ".json")
    ]
    hint = did_you_mean(str(file.parent / name) for name in closest(file.name, names))
    raise FileNotFoundError(f"the config {path!r} does not exist.{hint}")


def refuse_nested_overrides(arguments: list[str]) -> None:
    """Refuse ``--model.…`` and ``--data.…`` on an MMEngine config: jsonargparse would replace whole dicts by strings.

    Raises:
        ValueError: Naming the option that does it right.
    """
    for argument in arguments:
        if argument.startswith("--seed_everything"):
            raise ValueError(
                f"{argument!r} on an MMEngine config → use --cfg-options randomness.seed=… instead"
            )
        if argument.startswith(("--model", "--data")):
            key = argument.removeprefix("--").partition("=")[0]
            part, _, rest = key.partition(".")
            inside = rest.removeprefix("init_args.")
            if part == "model" and inside.split(".")[0] not in (*MODULE_KEYS, ""):
                inside = f"model.{inside}"  # of MMEngine's model, not of the LightningModule
            raise ValueError(
                f"{argument!r} on an MMEngine config → use --cfg-options {inside or key}=… instead"
            )


def refuse_config_options(options: argparse.Namespace) -> None:
    """Refuse, on a LightningCLI YAML, the options that change an MMEngine config.

    Raises:
        ValueError: Naming the options that do it there.
    """
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


def dotted_names(value: Any) -> Any:
    """Replace classes and functions of a pure-Python config by their dotted names, all the way down."""
    if isinstance(value, dict):
        return {key: dotted_names(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(dotted_names(item) for item in value)
    # A callable object of the user's has no `__qualname__`: it stays, and has no name to be found by.
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return value
