"""Explain every config of released toolboxes, and compare the leftovers found with a plain search.

    python -m tests.parity.explain_corpus [FOLDER ...]

The search reads the text of each file and its bases line by line and knows nothing of configs. The
folders are those of ``config_corpus``. Nothing here needs MMEngine.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from mm2pl.config import Config, ConfigError
from mm2pl.plan.explain import explain
from mm2pl.plan.legacy import LEGACY, is_legacy
from tests.parity.config_corpus import download, is_config

ASSIGNMENT = re.compile(rf"^({'|'.join(LEGACY)})\s*=", re.MULTILINE)
STATUSES = {"exact", "equivalent", "ignored", "unused", "warning", "error"}


def unexplained(config: Mapping[str, Any], rows: list) -> list[str]:
    """Return the top-level keys without a row, and the rows that say nothing."""
    explained = {row.key.partition(".")[0].partition("[")[0] for row in rows}
    silent = [row.key for row in rows if row.status not in STATUSES or not (row.target or row.note)]
    return [key for key in config if key not in explained] + silent


class Report:
    """What one wheel's configs contain."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.leftovers: Counter[str] = Counter()
        self.searched: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self.notes: list[str] = []

    def add(self, file: Path) -> None:
        """Explain one config."""
        try:
            cfg = Config.fromfile(file, import_custom_modules=False)
        except ConfigError:
            self.count["not loaded"] += 1
            return
        config = dict(cfg.items())
        start = perf_counter()
        rows = explain(config)
        self.count["microseconds"] += round(1e6 * (perf_counter() - start))
        self.count["configs"] += 1
        self.count["rows"] += len(rows)
        if missing := unexplained(config, rows):
            self.count["unexplained keys"] += len(missing)
            self.notes.append(f"{file.name}: unexplained {missing}")
        if is_legacy(config):
            self.count["1.x as a whole"] += 1
            return
        found = {row.key for row in rows if row.key in LEGACY and row.status == "warning"}
        searched = set(ASSIGNMENT.findall(cfg.text))
        self.leftovers.update(found)
        self.searched.update(searched)
        if found != searched:
            self.notes.append(f"{file.name}: {sorted(found)}, the search {sorted(searched)}")
        for row in rows:
            if row.status in ("warning", "error") and row.key not in found:
                self.others[f"{row.status} {row.key}: {row.note}"[:150]] += 1

    def show(self) -> None:
        """Print the counts."""
        configs = self.count["configs"]
        each = self.count["microseconds"] / max(configs, 1)
        print(
            f"  {configs} configs, {self.count['rows']} rows, {each:.0f} µs each; "
            f"{self.count['unexplained keys']} unexplained keys; "
            f"{self.count['1.x as a whole']} are 1.x as a whole, {self.count['not loaded']} do not load"
        )
        print(f"  leftovers: {dict(self.leftovers)}; plain search: {dict(self.searched)}")
        for text, number in self.others.most_common():
            print(f"  {number} x {text}")
        for note in self.notes[:20]:
            print("  !", note)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    args = parser.parse_args()
    folders = args.folders or download(Path(os.environ.get("MM2PL_CORPUS") or tempfile.mkdtemp()))
    warnings.simplefilter("ignore")
    path, failures = sys.path[:], 0
    for folder in folders:
        sys.path[:] = [str(folder.resolve()), *path]
        print(folder.name, flush=True)
        report = Report()
        for file in sorted(folder.glob("*/.mim/configs/**/*.py")):
            if is_config(file):
                report.add(file)
        report.show()
        failures += report.count["unexplained keys"]
    return int(failures > 0)


if __name__ == "__main__":
    sys.exit(main())
