"""What a run ran on, by the first lines of its log: versions, seed and processes."""

from __future__ import annotations

import json
import re
from pathlib import Path

from mm2pl.runs.folders import WorkDir

_BYTES = 1 << 16
_LINE = re.compile(r"^\s*([A-Za-z][\w .()]{0,40}): (.*\S)", re.MULTILINE)
_END = re.compile(r"(?:INFO - |^)(?:Config:|Distributed training: \w+\n\d{4})", re.MULTILINE)


def environment_of(folder: WorkDir) -> dict[str, str]:
    """Return what the last start has said of versions, seed and launcher; empty if it said nothing."""
    for part in reversed(folder.parts):
        found: dict[str, str] = {}
        if part.text is not None:
            found = _values(_head(part.text))
        if part.scalars is not None and not found:
            found = _of_mmcv(_head(part.scalars).partition("\n")[0])
        if found:
            return found
    return {}


def _values(text: str) -> dict[str, str]:
    start = text.find("nvironment")
    if start < 0:
        return {}
    end = _END.search(text, start)
    found = dict(_LINE.findall(text[start : end.start() if end else None]))
    # How PyTorch was compiled follows on many lines, which its version stands for.
    return {key: value for key, value in found.items() if not key.startswith("PyTorch compil")}


def _of_mmcv(line: str) -> dict[str, str]:
    """Return what the first line of MMCV 1.x's JSON holds."""
    try:
        row = json.loads(line)
    except ValueError:
        return {}
    if not isinstance(row, dict) or not isinstance(row.get("env_info"), str):
        return {}
    found = dict(_LINE.findall(row["env_info"]))
    return found | {key: str(row[key]) for key in ("seed", "mmdet_version") if key in row}


def _head(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES).decode(errors="replace")
    except OSError:
        return ""
