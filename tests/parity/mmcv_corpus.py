"""Migrate every MMCV 1.x config of released toolboxes, and compare with the official configs of today.

    python -m tests.parity.mmcv_corpus [--corpus FOLDER] [--every N] [--files N]

FOLDER (or ``$MM2PL_CORPUS``) holds the unpacked wheels of ``config_corpus.RELEASES``; what is missing is downloaded.
Each config must migrate, with an entry for each of its keys in the report, and the learning rate of the migrated
one must be MMCV's. Configs that exist in both generations (the same name but for the order of its parts, and the
batch size that new names carry) must have the same optimizer, batch size, intervals, length and learning rates.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Any

from mm2pl.config import Config
from mm2pl.mmcv import Status, migrate_with_report
from mm2pl.mmcv.migration.curves import learning_rates
from mm2pl.mmcv.migration.files import migrate_file
from mm2pl.optim import simulate
from mm2pl.plan.legacy import is_legacy

from .config_corpus import download, is_config

GENERATIONS = (("mmdet-2.28.2", "mmdet-3.3.0"), ("mmsegmentation-0.30.0", "mmsegmentation-1.2.2"))
NEVER_DIFFER = (
    "faster_rcnn_r50_fpn_1x_coco",
    "faster_rcnn_r101_fpn_2x_coco",
    "mask_rcnn_r50_fpn_1x_coco",
    "mask_rcnn_x101_64x4d_fpn_2x_coco",
    "cascade_rcnn_r50_fpn_1x_coco",
    "retinanet_r50_fpn_1x_coco",
    "retinanet_r101_fpn_2x_coco",
    "atss_r50_fpn_1x_coco",
    "htc_r50_fpn_1x_coco",
    "tood_r50_fpn_1x_coco",
    "vfnet_r50_fpn_1x_coco",
    "scnet_r50_fpn_20e_coco",
    "apcnet_r50-d8_769x769_40k_cityscapes",
    "danet_r50-d8_512x512_80k_ade20k",
    "gcnet_r101-d8_512x1024_80k_cityscapes",
    "ssd300_coco",
    "sparse_rcnn_r50_fpn_1x_coco",
    "pspnet_r50-d8_512x1024_80k_cityscapes",
    "pspnet_r101-d8_512x512_160k_ade20k",
    "deeplabv3_r50-d8_512x1024_40k_cityscapes",
    "deeplabv3plus_r50-d8_512x512_20k_voc12aug",
    "fcn_r50-d8_769x769_80k_cityscapes",
    "upernet_r50_512x512_160k_ade20k",
    "fcn_unet_s5-d16_64x64_40k_drive",
)
"""Pairs whose settings must be equal; of the others, some were changed on purpose between the releases."""


def load(path: Path) -> dict[str, Any]:
    return Config.fromfile(str(path), import_custom_modules=False).to_dict()


def configs(folder: Path) -> list[Path]:
    """Return the configs of one wheel, with those that others inherit from."""
    return [file for file in sorted(folder.glob("*/.mim/configs/**/*.py")) if is_config(file)]


class Migration:
    """Migrate configs one by one, and count.

    Args:
        write_every: Migrate every n-th one as a file too.
    """

    def __init__(self, write_every: int) -> None:
        self.write_every = write_every
        self.count: Counter[str] = Counter()
        self.needs: Counter[str] = Counter()
        self.worst = 0.0
        self.notes: list[str] = []
        self.seconds = 0.0

    def add(self, path: Path) -> None:
        try:
            old = load(path)
        except Exception as error:
            self.count["not loadable"] += 1
            self.notes.append(f"{path.name} does not load: {str(error).splitlines()[0]:.120}")
            return
        self.count["configs"] += 1
        start = perf_counter()
        try:
            new, report = migrate_with_report(old)
        except Exception as error:
            self.notes.append(f"{path}: {error!r}")
            return
        finally:
            self.seconds += perf_counter() - start
        self.count["migrated"] += 1
        missing = [key for key in old if not report.covers(key)]
        self.count["every key in the report"] += not missing
        self.notes += [f"{path}: {missing} not in the report"] if missing else []
        needs = report.of(Status.NEEDS_YOU)
        self.count["nothing needs the user"] += not needs
        self.needs.update(re.sub(r"\[\d+\]", "[]", entry.key) for entry in needs)
        self.count["keys"] += len(report)
        self.curve(path, old, new)
        if self.count["configs"] % self.write_every == 0 and is_legacy(old):
            self.file(path, new)

    def curve(self, path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        deviation = curve_deviation(repr_of(old), repr_of(new), Held(old), Held(new))
        if deviation is None:
            return
        self.count["learning rates compared with MMCV's formulas"] += 1
        self.worst = max(self.worst, deviation)
        if deviation > 1e-6:
            self.notes.append(f"{path}: learning rate differs by {deviation:.1e}")

    def file(self, path: Path, new: Mapping[str, Any]) -> None:
        self.count["written as files"] += 1
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / path.name
            try:
                migrate_file(path, target)
                equal = without_none(load(target)) == without_none(new)
            except Exception as error:
                self.notes.append(f"{path}: {error!r:.200}")
                return
        self.count["their files load as the migrated config"] += equal
        self.notes += [] if equal else [f"{path}: its file loads to something else"]

    def show(self) -> bool:
        for note in self.notes:
            print("  ", note)
        for name, number in self.count.items():
            print(f"{name:46} {number:6}")
        print(f"{'largest relative difference of a learning rate':46} {self.worst:.1e}")
        each = 1e3 * self.seconds / max(self.count["configs"], 1)
        print(f"{'time to migrate one':46} {each:.1f} ms")
        print("most frequent of what needs the user:")
        for key, number in self.needs.most_common(12):
            print(f"    {key:42} {number:6}")
        equal = ("migrated", "every key in the report")
        files = (
            self.count["written as files"] == self.count["their files load as the migrated config"]
        )
        return (
            files
            and self.worst < 1e-6
            and all(self.count[n] == self.count["configs"] for n in equal)
        )


class Held:
    """An object that a cache does not look at.

    Args:
        value: The object.
    """

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Held)

    def __hash__(self) -> int:
        return 0


def repr_of(config: Mapping[str, Any]) -> str:
    """Return what the learning rates depend on, as text."""
    keys = ("runner", "total_epochs", "lr_config", "param_scheduler", "train_cfg")
    optimizer = (
        config.get("optimizer") or (config.get("optim_wrapper") or {}).get("optimizer") or {}
    )
    lr = optimizer.get("lr") if isinstance(optimizer, Mapping) else None
    return repr([lr, *(config.get(key) for key in keys)])


@cache
def curve_deviation(_old: str, _new: str, old: Held, new: Held) -> float | None:
    curves = learning_rates(old.value, new.value)
    return None if curves is None else curves.deviation


def without_none(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if value is not None}


def parts_of(path: Path) -> tuple[str, ...]:
    """Return the parts of a config's name, without the batch size that new names carry, in one order."""
    name = re.sub(r"_?\d+xb\d+", "", path.stem.lower()).replace("-", "_")
    return tuple(sorted(part for part in name.split("_") if part))


def pairs(old: Path, new: Path) -> Iterator[tuple[Path, Path]]:
    """Yield the configs that two generations of a toolbox share."""
    names: dict[tuple[str, ...], list[Path]] = {}
    for path in configs(new):
        if "_base_" in path.parts:
            continue
        names.setdefault(parts_of(path), []).append(path)
    for path in configs(old):
        found = names.get(parts_of(path), [])
        if len(found) == 1 and "_base_" not in path.parts:
            yield path, found[0]


def settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what both generations must agree in."""
    wrapper = dict(config.get("optim_wrapper") or {})
    loop = dict(config.get("train_cfg") or {})
    by_epoch = "max_epochs" in loop
    hooks = config.get("default_hooks") or {}
    return {
        "optimizer": wrapper.get("optimizer"),
        "paramwise_cfg": wrapper.get("paramwise_cfg"),
        "clip_grad": wrapper.get("clip_grad"),
        "batch size": (config.get("train_dataloader") or {}).get("batch_size"),
        "length": loop.get("max_epochs", loop.get("max_iters")),
        "by epoch": by_epoch,
        "val interval": loop.get("val_interval", 1),
        "checkpoint interval": (hooks.get("checkpoint") or {}).get("interval"),
        "log interval": (hooks.get("logger") or {}).get("interval"),
    }


@cache
def curve(_key: str, config: Held) -> list[float]:
    """Return the learning rates of a run with about 20,000 iterations."""
    loop = config.value["train_cfg"]
    by_epoch = "max_epochs" in loop
    length = loop.get("max_epochs", loop.get("max_iters"))
    epoch_length = max(20, 20_000 // length) if by_epoch else 1
    base = config.value["optim_wrapper"]["optimizer"]["lr"]
    total = length * epoch_length
    return simulate(
        config.value.get("param_scheduler"),
        base,
        total,
        epoch_length=epoch_length,
        by_epoch=by_epoch,
    )


def different(old: Path, new: Path) -> list[str]:
    """Return in what the migrated config differs from the official one."""
    migrated, official = migrate_with_report(load(old)).config, load(new)
    ours, theirs = settings(migrated), settings(official)
    found = [key for key in ours if ours[key] != theirs[key]]
    if found:
        return found
    a, b = (curve(repr_of(c), Held(c)) for c in (migrated, official))
    # MMEngine's warm-ups and PolyLR end one step before MMCV's.
    shifted = zip(b, a, [a[0], *a], [*a[1:], a[-1]], strict=False)
    near = (min(abs(y - x) for x in values) for y, *values in shifted)
    return [] if max(near) <= 0.005 * max(a) else ["learning rate"]


def compare_generations(folders: Mapping[str, Path], every: int) -> bool:
    total: Counter[str] = Counter()
    notes: list[str] = []
    named = set()
    for before, after in GENERATIONS:
        for index, (old, new) in enumerate(pairs(folders[before], folders[after])):
            if index % every and old.stem not in NEVER_DIFFER:
                continue
            total["pairs"] += 1
            try:
                found = different(old, new)
            except Exception as error:
                found = [f"{type(error).__name__}: {error}"[:80]]
            total["equal"] += not found
            total.update(found)
            if old.stem in NEVER_DIFFER:
                named.add(old.stem)
                total["of the table"] += 1
                total["of the table, equal"] += not found
            if found:
                notes.append(f"{old.stem} / {new.stem}: {', '.join(found)}")
    for note in notes:
        print("  ", note)
    for key, number in total.items():
        print(f"{key:46} {number:6}")
    lost = set(NEVER_DIFFER) - named
    print(f"missing of the table: {sorted(lost)}" if lost else "the whole table was compared")
    return not lost and total["of the table"] == total["of the table, equal"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, default=os.environ.get("MM2PL_CORPUS"))
    parser.add_argument("--every", type=int, default=1, help="take every n-th config only")
    parser.add_argument("--files", type=int, default=10, help="write every n-th one as a file too")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    folders = {f.name: f for f in download(Path(args.corpus or tempfile.mkdtemp()))}
    migration = Migration(args.files)
    for before, _ in GENERATIONS:
        sys.path.insert(0, str(folders[before].resolve()))
        for path in configs(folders[before])[:: args.every]:
            migration.add(path)
    good = migration.show()
    return int(not (compare_generations(folders, args.every) and good))


if __name__ == "__main__":
    sys.exit(main())
