"""Write PNG files with nothing but the standard library."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np


def write_png(path: str | Path, image: np.ndarray) -> None:
    """Write bytes ``(H, W)``, ``(H, W, 3)`` or ``(H, W, 4)`` (grey, RGB, RGBA) losslessly."""
    channels = 1 if image.ndim == 2 else image.shape[2]
    # The PNG standard's numbers for grey, RGB and RGBA.
    color_type = {1: 0, 3: 2, 4: 6}[channels]
    height, width = image.shape[:2]
    rows = np.ascontiguousarray(image).reshape(height, -1)
    # Each row begins with its filter, 0 for none.
    filtered = np.concatenate([np.zeros((height, 1), np.uint8), rows], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b""))
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        for kind, data in chunks:
            crc = zlib.crc32(kind + data)
            file.write(struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc))
