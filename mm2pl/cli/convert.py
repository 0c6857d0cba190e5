"""``mm2pl convert``: a config as LightningCLI YAML that runs by itself, or flattened; a folder of shards as a file."""

from __future__ import annotations

import argparse
from pathlib import Path

import yaml

from mm2pl.cli import convert_ckpt
from mm2pl.cli.command_line import dotted_names
from mm2pl.cli.reading import add_options, is_trusted, read
from mm2pl.config import Config
from mm2pl.errors import ArgumentError, ExistingFileError
from mm2pl.plan.containers import lists
from mm2pl.plan.translate import require_plain, translate
from mm2pl.version import __version__


def run(command: str, arguments: list[str]) -> int | None:
    """Convert a config, or the folder of a sharded checkpoint.

    Raises:
        FileExistsError: If the output exists and ``--force`` is not given.
        TypeError: If the config holds live objects, which no file can hold.
        ValueError: If there is no output, or its ending is none of the three.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    add_options(parser)
    parser.add_argument(
        "-o",
        "--out",
        help="out.yaml: LightningCLI; out.py, out.json: flattened; out.pth: of a sharded checkpoint's folder",
    )
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    options = parser.parse_args(arguments)
    if Path(options.config).is_dir() and options.out:
        force = ["--force"] if options.force else []
        convert_ckpt.run("convert-ckpt", [options.config, options.out, *force])
        return None
    cfg = read(options)
    if cfg is None:
        return None
    if not options.out:
        raise ArgumentError("mm2pl convert needs an output → -o out.yaml, -o out.py or -o out.json")
    out = Path(options.out)
    if out.exists() and not options.force:
        raise ExistingFileError(
            f"{options.out!r} exists → choose another name, or --force to overwrite it"
        )
    if out.suffix in (".py", ".json"):
        cfg.dump(str(out))
    elif out.suffix in (".yaml", ".yml"):
        out.write_text(lightning_yaml(cfg, options.config, trusted=is_trusted(options)))
    else:
        raise ArgumentError(f"-o {options.out!r} → a name ending in .yaml, .py or .json is needed")
    print(f"wrote {out}")
    return None


def lightning_yaml(cfg: Config, filename: str, trusted: bool = True) -> str:
    """Return a config as the YAML that ``mm2pl fit --config`` runs by itself.

    Args:
        cfg: The config.
        filename: Where it was read.
        trusted: Whether modules that the config names may be imported.

    Raises:
        TypeError: If the config holds live objects.
    """
    keys = dotted_names(dict(cfg.items()))
    plan = translate(keys, filename=filename, trusted=trusted).as_cli()
    # A run from the YAML is named after the YAML.
    plan["trainer"]["callbacks"][0]["init_args"].pop("filename", None)
    require_plain(plan)
    header = f"# {Path(filename).name} in LightningCLI's form, written by mm2pl {__version__}.\n"
    return header + yaml.safe_dump(lists(plan), sort_keys=False, width=100)
