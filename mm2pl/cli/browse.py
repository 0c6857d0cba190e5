"""``mm2pl browse``: samples as the model gets them, with their annotations, as a picture or as a list."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mm2pl.cli.reading import add_options, read
from mm2pl.errors import ArgumentError, MissingPackageError
from mm2pl.utils.picture_path import check_picture_path

SPLITS = ("train", "val", "test")


def run(command: str, arguments: list[str]) -> int:
    """List samples, and draw those that hold a picture; return 1 where the data set is empty.

    Raises:
        ArgumentError: The config has no such loader, its data cannot be built, or no sample holds a picture to draw.
        MissingPackageError: The picture needs matplotlib.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    add_options(parser)
    parser.add_argument("--split", choices=SPLITS, default="train", help="which loader's data")
    parser.add_argument(
        "-n",
        "--count",
        type=int,
        default=8,
        help="how many, in the order of the sampler; default: 8",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="FILE|DIR",
        help="x.png: all in one picture; a folder: a file for each; default: SPLIT.png, in this folder",
    )
    parser.add_argument("--json", action="store_true", help="list what samples hold; draws with -o")
    options = parser.parse_args(arguments)
    if options.count < 1:
        raise ArgumentError(f"--count {options.count} → a positive number")
    cfg = read(options)
    if cfg is None:
        return 0
    # Only here, because torch comes with it.
    from mm2pl.dataset.build import data_of
    from mm2pl.visualization import browse

    content: dict[str, Any] = dict(cfg.items())
    shown = content.get("visualizer")
    drawer = shown if isinstance(shown, Mapping) else None
    with data_of(content, options.split) as loader:
        found = browse.samples(loader, options.count, drawer, bgr=_is_bgr(content))
    drawable = any(sample.after is not None for sample in found)
    out = Path(options.out) if options.out else None
    unasked = (
        Path(f"{options.split}.png") if drawable and not options.json and out is None else None
    )
    if options.json:
        print(json.dumps([sample.as_dict() for sample in found], indent=1, ensure_ascii=False))
    else:
        print(browse.as_text(found))
    if unasked is not None and find_spec("matplotlib") is None:
        print(f"{unasked} is not drawn: matplotlib is missing → pip install mm2pl[visual]")
        return 0
    out = out or unasked
    if out is not None:
        written = _write(found, out, f"{Path(options.config).stem}, {options.split}")
        if not options.json:
            print(f"wrote {written}")
    return 0 if found else 1


def _write(found: list[Any], out: Path, title: str) -> str:
    from mm2pl.visualization import browse

    if not out.suffix:
        return f"{len(browse.write_each(found, out))} files to {out}"
    if find_spec("matplotlib") is None:
        raise MissingPackageError(
            f"{out} needs matplotlib → pip install mm2pl[visual], or name a folder: --out FOLDER"
        )
    check_picture_path(out)
    browse.grid(found, out, title)
    return str(out)


def _is_bgr(cfg: Mapping[str, Any]) -> bool:
    """Return whether the model turns channels round, so that pictures come in OpenCV's order."""
    model = cfg.get("model")
    inner = model.get("data_preprocessor") if isinstance(model, Mapping) else None
    given = inner or cfg.get("data_preprocessor") or {}
    return isinstance(given, Mapping) and bool(given.get("bgr_to_rgb") or given.get("to_rgb"))
