"""Fetch a file from the internet, once and whole, or say in one message why not."""

from __future__ import annotations

import hashlib
import re
import sys
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import torch
from tqdm import tqdm

from mm2pl.checkpoint import model_zoo
from mm2pl.checkpoint.reader import CheckpointError
from mm2pl.checkpoint.writer import write_atomically
from mm2pl.dist import get_dist_info
from mm2pl.logging import print_log

TIMEOUT = 60.0
"""Seconds within which a server must send something; torch 2.x waits for ever."""

_BLOCK = 1 << 17


class _BrokenOff(Exception):
    """Why a download ended; no OSError, since those of the disk are told in another way."""


def download(
    url: str,
    folder: str | Path | None = None,
    *,
    progress: bool | None = None,
    name: str | None = None,
    check_hash: bool = False,
) -> Path:
    """Return the local copy of a file, in torch.hub's folder or ``folder``; rank 0 downloads, the other ranks wait.

    Args:
        url: ``http://`` or ``https://``.
        folder: Where the copy is kept.
        progress: Draw a bar; default: on a terminal.
        name: The name of the copy; default: the last part of the address.
        check_hash: Compare the content with the beginning of its SHA-256 in the name, such as ``net-0676ba61.pth``.

    Raises:
        CheckpointError: The server did not send it whole, or ``check_hash`` and it is another file.
        OSError: It cannot be written.
    """
    rank, world_size = get_dist_info()
    path = Path(folder or Path(torch.hub.get_dir()) / "checkpoints")
    path = path / (name or model_zoo.file_name(url))
    if rank == 0 and not path.exists():
        print_log(f"Downloading {url} to {path}", logger="current")
        # The bar goes to standard error; MMEngine 0.10.7 asks whether standard *input* is a terminal.
        _fetch(url, path, sys.stderr.isatty() if progress is None else progress)
    if world_size > 1:
        torch.distributed.barrier()
    if check_hash:
        _compare_hash(path, url)
    return path


def _fetch(url: str, path: Path, progress: bool) -> None:
    try:
        request = Request(url, headers={"User-Agent": "mm2pl"})
        with urlopen(request, timeout=TIMEOUT) as answer:
            write_atomically(path, lambda file: _copy(answer, file, progress))
    except HTTPError as error:
        reason = f"the server answers {error.code} {error.reason}"
    except _BrokenOff as error:
        reason = str(error)
    except (OSError, HTTPException, ValueError) as error:
        # One of the disk names its file and says what to do.
        if getattr(error, "filename", None) or "could not be written" in str(error):
            raise
        reason = str(getattr(error, "reason", None) or error or type(error).__name__)
    else:
        return
    raise CheckpointError(
        f"{url} could not be downloaded: {reason} → check the address and the network, or download it by other means "
        "and give its path"
    )


def _copy(answer: Any, file: IO[bytes], progress: bool) -> None:
    length = int(answer.headers.get("Content-Length") or 0)
    with tqdm(total=length or None, unit="B", unit_scale=True, disable=not progress) as bar:
        while block := _next_block(answer):
            file.write(block)
            bar.update(len(block))
    # Python's client takes a connection that was closed too early for the end of the file.
    if length and file.tell() != length:
        raise _BrokenOff(f"{file.tell()} of its {length} bytes came")


def _next_block(answer: Any) -> bytes:
    try:
        return answer.read(_BLOCK)
    except (OSError, HTTPException) as error:
        raise _BrokenOff(str(error) or type(error).__name__) from error


def _compare_hash(path: Path, url: str) -> None:
    known = re.search(r"-([a-f0-9]+)\.", path.name)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if known and not digest.startswith(known[1]):
        raise CheckpointError(
            f"{path} has another content than its name says (SHA-256 {digest[:12]}…, {known[1]} is needed). It was "
            f"downloaded from {url}: delete it to download again"
        )
