"""``mm2pl publish``: the weights of a checkpoint, in a file whose name holds its hash."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from mm2pl.errors import ArgumentError, MissingFileError


def run(command: str, arguments: list[str]) -> None:
    """Write the file.

    Raises:
        CheckpointError: The source cannot be read or is not a checkpoint.
        MissingFileError: The folder of the output is not there.
        ArgumentError: A source without a folder of its own needs ``--out``.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument(
        "checkpoint", help="of mm2pl, MMEngine, MMCV 1.x or Lightning, or a state dict"
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="NAME",
        help="what the name begins with: model.pth becomes model-<8 hex>.pth; default: that of the source",
    )
    parser.add_argument(
        "--safetensors", action="store_true", help="write .safetensors (needs the package)"
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument(
        "--unsafe-pickle",
        action="store_true",
        help="run the code that the source contains; only for files whose origin you trust",
    )
    options = parser.parse_args(arguments)
    source, out = options.checkpoint, options.out
    if out is None and "://" in source:
        raise ArgumentError(
            f"{source!r} is not a file of this machine → name one with --out NAME.pth"
        )
    path = Path(out or source)
    if not path.parent.is_dir():
        raise MissingFileError(f"the folder {str(path.parent)!r} of {path.name!r} does not exist.")
    if path.is_dir() and out is not None:
        path = path / Path(source).name
    # Only here, because torch comes with it: a mistake in the options is told at once.
    from mm2pl.runs.publish import publish

    made = publish(
        source, path, safetensors=options.safetensors, weights_only=not options.unsafe_pickle
    )
    if options.json:
        print(json.dumps(asdict(made), indent=1, ensure_ascii=False))
    else:
        print(f"wrote {made.out}: {made.weights} weights, {made.bytes} bytes")
