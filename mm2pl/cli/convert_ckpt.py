"""``mm2pl convert-ckpt``: rewrite a checkpoint for another program."""

from __future__ import annotations

import argparse
from pathlib import Path

from mm2pl.errors import ExistingFileError


def run(command: str, arguments: list[str]) -> None:
    """Convert a checkpoint.

    Raises:
        CheckpointError: If the source cannot be read or is not a checkpoint.
        FileExistsError: If the output exists and ``--force`` is not given.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument(
        "source", help="a checkpoint of mm2pl, MMEngine, MMCV 1.x or Lightning, or a state dict"
    )
    parser.add_argument("out", help="the new file")
    parser.add_argument(
        "--to",
        choices=["lightning", "mmengine", "weights"],
        default="lightning",
        help="who is to read it; weights: a state dict alone",
    )
    parser.add_argument(
        "--epoch-length", type=int, help="batches per epoch, to find the place inside an epoch"
    )
    parser.add_argument("--force", action="store_true", help="overwrite the output")
    parser.add_argument(
        "--unsafe-pickle",
        action="store_true",
        help="run the code that the source contains; only for files whose origin you trust",
    )
    options = parser.parse_args(arguments)
    if Path(options.out).exists() and not options.force:
        raise ExistingFileError(
            f"{options.out!r} exists → choose another name, or --force to overwrite it"
        )
    # Only here, because torch comes with it: a mistake in the options is told at once.
    from mm2pl.checkpoint.format import convert_checkpoint

    convert_checkpoint(
        options.source,
        options.out,
        options.to,
        epoch_length=options.epoch_length,
        weights_only=not options.unsafe_pickle,
    )
    print(f"wrote {options.out}")
