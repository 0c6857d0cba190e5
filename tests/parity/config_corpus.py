"""Compare mm2pl.config with MMEngine over the configs of released toolboxes.

    python -m tests.parity.config_corpus [FOLDER ...]

A FOLDER holds one unpacked wheel. Without one, the wheels of ``RELEASES`` are downloaded with pip
into ``$MM2PL_CORPUS`` (or a temporary folder) and unpacked. What MMEngine itself cannot load counts
in no ratio; ours must then either load it or say why with a ``ConfigError``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

RELEASES = (
    "mmdet==3.3.0",
    "mmsegmentation==1.2.2",
    "mmpretrain==1.2.0",
    "mmpose==1.3.2",
    "mmdet==2.28.2",
    "mmsegmentation==0.30.0",
)


def download(cache: Path) -> list[Path]:
    """Fetch and unpack the wheels that are not there yet."""
    folders = []
    for release in RELEASES:
        folder = cache / release.replace("==", "-")
        folders.append(folder)
        if folder.is_dir():
            continue
        with tempfile.TemporaryDirectory() as wheels:
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "-q", "-d", wheels]
            subprocess.run([*command, release], check=True)
            (wheel,) = Path(wheels).glob("*.whl")
            zipfile.ZipFile(wheel).extractall(folder)
    return folders


def differences(theirs: Any, ours: Any, path: str = "cfg") -> Iterator[str]:
    """Yield every place where two values differ in type, order or content."""
    if type(theirs).__name__ != type(ours).__name__:
        yield f"{path}: {type(theirs).__name__} -> {type(ours).__name__}"
    elif isinstance(theirs, dict):
        if [*theirs.keys()] != [*ours.keys()]:
            yield f"{path}: keys {[*theirs.keys()]} -> {[*ours.keys()]}"
            return
        for key, value in dict.items(theirs):
            yield from differences(value, dict.__getitem__(ours, key), f"{path}.{key}")
    elif isinstance(theirs, (list, tuple)):
        if len(theirs) != len(ours):
            yield f"{path}: {len(theirs)} -> {len(ours)} elements"
        for index, (a, b) in enumerate(zip(theirs, ours, strict=False)):
            yield from differences(a, b, f"{path}[{index}]")
    elif type(theirs).__name__ in ("LazyObject", "LazyAttr"):
        if (a := f"{theirs.module}.{theirs}") != (b := f"{ours.module}.{ours}"):
            yield f"{path}: {a} -> {b}"
    elif callable(theirs):
        if getattr(theirs, "__qualname__", theirs) != getattr(ours, "__qualname__", ours):
            yield f"{path}: {theirs} -> {ours}"
    elif isinstance(theirs, float):
        if theirs.hex() != ours.hex():
            yield f"{path}: {theirs.hex()} -> {ours.hex()}"
    elif theirs != ours:
        yield f"{path}: {theirs!r} -> {ours!r}"


def is_config(file: Path) -> bool:
    """Leave out scripts that lie among the configs; reading puts both sides on a warm cache."""
    return "__main__" not in file.read_text(encoding="utf-8")


class Report:
    """Count what is equal, and how long each side took."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.seconds: Counter[str] = Counter()
        self.notes: list[str] = []

    def timed(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            self.seconds[name] += perf_counter() - start

    def compare(self, file: Path, scratch: Path, print_too: bool) -> None:
        from mmengine.config import Config as TheirConfig

        from mm2pl.config import Config, ConfigError

        options = {"import_custom_modules": False}
        self.count["files"] += 1
        try:
            theirs = self.timed("load, MMEngine", TheirConfig.fromfile, file, **options)
        except Exception as error:
            self.count["not loaded by MMEngine"] += 1
            try:
                Config.fromfile(file, **options)
                self.notes.append(f"{file}: only mm2pl loads it ({error!r:.90})")
            except ConfigError as ours:
                self.notes.append(f"{file}: neither loads it: {str(ours).splitlines()[0]:.150}")
            return
        self.count["total"] += 1
        cfg = self.timed("load, mm2pl", Config.fromfile, file, **options)
        found = list(differences(theirs._cfg_dict, cfg._cfg_dict)) + [
            f"{name} differs"
            for name in ("filename", "text", "env_variables")
            if getattr(theirs, name) != getattr(cfg, name)
        ]
        self.count["equal"] += not found
        self.notes += [f"{file}: {line}" for line in found[:3]]
        self.round_trip(cfg, scratch)
        self.safe(cfg, file)
        if print_too:
            self.count["printed"] += 1
            self.timed("print, MMEngine", lambda: theirs.pretty_text)
            self.timed("print, mm2pl", lambda: cfg.pretty_text)

    def round_trip(self, cfg: Any, scratch: Path) -> None:
        cfg.dump(scratch)
        again = type(cfg).fromfile(scratch, import_custom_modules=False)
        equal = again == cfg and again.pretty_text == cfg.pretty_text
        self.count["fromfile(dump(cfg)) == cfg"] += equal
        if not equal:
            self.notes.append(f"{cfg.filename}: its dump loads to something else")

    def safe(self, cfg: Any, file: Path) -> None:
        from mm2pl.config import ConfigError

        try:
            safe = self.timed("load, safe=True", type(cfg).fromfile, file, safe=True)
        except ConfigError as error:
            self.notes.append(f"{file}: not safe: {str(error).splitlines()[0]:.150}")
            return
        self.count["safe=True, equal"] += safe == cfg

    def show(self) -> None:
        total = self.count["total"]
        for name in ("equal", "fromfile(dump(cfg)) == cfg", "safe=True, equal"):
            print(f"{name:28} {self.count[name]:5}/{total}")
        print(f"{'not loaded by MMEngine':28} {self.count['not loaded by MMEngine']:5}")
        for name, seconds in self.seconds.items():
            runs = self.count["printed"] if name.startswith("print") else total
            print(f"{name:28} {seconds:8.2f} s, {1e3 * seconds / max(runs, 1):8.3f} ms each")
        for step in ("load", "print"):
            ratio = self.seconds[f"{step}, MMEngine"] / max(self.seconds[f"{step}, mm2pl"], 1e-9)
            print(f"{step}: {ratio:.1f} times as fast as MMEngine")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--every", type=int, default=1, help="take every n-th config only")
    parser.add_argument("--print-every", type=int, default=20, help="print every n-th config only")
    parser.add_argument("-v", "--verbose", action="store_true", help="list every note")
    args = parser.parse_args()
    cache = Path(os.environ.get("MM2PL_CORPUS") or tempfile.mkdtemp())
    folders = args.folders or download(cache)
    warnings.simplefilter("ignore")
    report, path = Report(), sys.path[:]
    with tempfile.TemporaryDirectory() as scratch:
        for folder in folders:
            # An older release of the same toolbox must not answer for `mmdet::...`.
            others = [str(o.resolve()) for o in sorted(folders, reverse=True) if o != folder]
            sys.path[:] = [str(folder.resolve()), *path, *others]
            files = [f for f in sorted(folder.glob("*/.mim/configs/**/*.py")) if is_config(f)]
            files = files[:: args.every]
            before = report.count["total"], report.count["equal"]
            for number, file in enumerate(files):
                report.compare(file, Path(scratch, "dump.py"), number % args.print_every == 0)
            total, equal = (report.count[name] for name in ("total", "equal"))
            print(f"{folder.name:28} {equal - before[1]:5}/{total - before[0]} equal", flush=True)
    for note in report.notes[: None if args.verbose else 20]:
        print("  ", note)
    report.show()
    return int(report.count["equal"] != report.count["total"])


if __name__ == "__main__":
    sys.exit(main())
