"""A checkpoint as it is given away: weights and what they are, under a name that holds their hash."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from mm2pl.checkpoint.format import weights_of
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.writer import save_checkpoint, write_atomically
from mm2pl.errors import ArgumentError, MissingPackageError


@dataclass(frozen=True)
class Published:
    """A file that was written."""

    out: str
    sha256: str
    bytes: int
    weights: int


def publish(
    source: str, out: Path, *, safetensors: bool = False, weights_only: bool = True
) -> Published:
    """Write the weights and the ``meta`` of a checkpoint; of a run with EMA the averaged ones.

    The eight hex digits in the name are those of the file's SHA-256, by which ``load_from_url`` and torch's hub check
    a download. If the name has that of ``source`` already, it is replaced.

    Args:
        source: A path, URL or model zoo name.
        out: What the name begins with, with or without its ending.
        safetensors: Write a ``.safetensors`` file, in which ``meta`` is text.
        weights_only: ``False`` runs the code that ``source`` contains.

    Raises:
        CheckpointError: ``source`` cannot be read or is not a checkpoint.
        ArgumentError: It holds something else than tensors, and is to become a ``.safetensors`` file.
        MissingPackageError: safetensors is not installed.
    """
    if safetensors and find_spec("safetensors") is None:
        raise MissingPackageError(
            "--safetensors needs the package of that name → pip install mm2pl[safetensors]"
        )
    checkpoint = CheckpointLoader.load_checkpoint(
        source, "cpu", logger="silent", weights_only=weights_only
    )
    made = weights_of(checkpoint)
    ending = ".safetensors" if safetensors else ".pth"
    stem = re.sub(r"\.(pth|pt|ckpt|safetensors)$", "", out.name)
    # Eight digits may be a date.
    if re.search(r"-[0-9a-f]{8}$", stem) and Path(source).is_file():
        stem = stem.removesuffix(f"-{_digest(Path(source))[:8]}")
    unnamed = out.with_name(f".{stem}.{os.getpid()}{ending}")
    try:
        if safetensors:
            _save_safetensors(made, unnamed)
        else:
            save_checkpoint(made, str(unnamed))
        digest, count = _digest(unnamed), unnamed.stat().st_size
        final = out.with_name(f"{stem}-{digest[:8]}{ending}")
        os.replace(unnamed, final)
    finally:
        unnamed.unlink(missing_ok=True)
    return Published(str(final), digest, count, len(made["state_dict"]))


def _digest(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            content.update(block)
    return content.hexdigest()


def _save_safetensors(made: Mapping[str, Any], path: Path) -> None:
    from safetensors.torch import save

    state = made["state_dict"]
    others = [name for name, value in state.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise ArgumentError(
            f"{', '.join(others[:3])}: a .safetensors file holds tensors only → publish it as .pth"
        )
    # safetensors 0.8 refuses tensors that share memory, and those with gaps.
    tensors = {name: value.detach().clone().contiguous() for name, value in state.items()}
    meta = {
        key: value if isinstance(value, str) else _text(value)
        for key, value in made["meta"].items()
    }
    content = save(tensors, {"format": "pt", **meta})
    write_atomically(path, lambda file: file.write(content))


def _text(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        return str(value)
