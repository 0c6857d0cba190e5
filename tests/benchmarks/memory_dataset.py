"""Memory of a long annotation list with many workers: ``python -m tests.benchmarks.memory_dataset``.

Prints the proportional set size (PSS: shared pages count once, divided among those who share them)
of the main process and all workers together, less that of the same run with an empty list, as a
multiple of the serialized size. Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ENTRIES = 500_000
WORKERS = 8


def annotation(number: int) -> dict:
    """Return an entry like those of a detection data set, with three boxes."""
    boxes = [
        {"bbox": [number % 500, box, number % 333 + 9.5, 50.25], "bbox_label": box, "ignore": 0}
        for box in range(3)
    ]
    path = f"train2017/{number:012d}.jpg"
    return {"img_path": path, "height": 480, "width": 640 + number % 3, "instances": boxes}


def write_file(path: str, entries: int) -> None:
    """Write an annotation file."""
    content = {"metainfo": {}, "data_list": [annotation(number) for number in range(entries)]}
    Path(path).write_text(json.dumps(content))


def pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError(f"no Pss in /proc/{pid}/smaps_rollup")


def children() -> list[int]:
    """Return the ids of this process's children."""
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [int(pid) for pid in pids]


def measure(
    entries: int, workers: int, serialize_data: bool, package: str, from_file: bool
) -> dict[str, Any]:
    """Read every entry in the workers, and say what all processes take then."""
    from importlib import import_module

    from torch.utils.data import DataLoader

    dataset_module = import_module(f"{package}.dataset")

    class Listed(dataset_module.BaseDataset):
        def load_data_list(self) -> list[dict]:
            if from_file:
                return super().load_data_list()
            return [annotation(number) for number in range(entries)]

        def __getitem__(self, index: int) -> int:
            # An empty list has a sample too, so that its workers import and do the same.
            return len(super().__getitem__(index)["instances"]) if len(self) else 0

    with TemporaryDirectory() as folder:
        ann_file = f"{folder}/train.json"
        if from_file:  # by a process of its own, which takes its memory with it
            process = get_context("spawn").Process(target=write_file, args=(ann_file, entries))
            process.start()
            process.join()
        dataset = Listed(ann_file, serialize_data=serialize_data and entries > 0)
    serialized = int(dataset.data_address[-1]) if len(dataset) and serialize_data else 0
    sampler = range(entries or 100 * workers)
    loader = DataLoader(
        dataset, batch_size=100, sampler=sampler, num_workers=workers, persistent_workers=True
    )
    boxes = sum(int(batch.sum()) for batch in loader)
    assert boxes == 3 * entries
    pids = [os.getpid(), *children()]
    assert len(pids) > workers
    return {"pss": sum(map(pss_bytes, pids)), "serialized": serialized}


def in_new_process(*arguments: Any) -> dict[str, Any]:
    """Return what :func:`measure` returns in a process that has done nothing else."""
    command = [sys.executable, "-m", "tests.benchmarks.memory_dataset", "--measure"]
    run = subprocess.run([*command, json.dumps(arguments)], check=True, capture_output=True)
    return json.loads(run.stdout.splitlines()[-1])


def ratio(
    entries: int = ENTRIES,
    workers: int = WORKERS,
    serialize_data: bool = True,
    package: str = "mm2pl",
    from_file: bool = False,
) -> dict[str, float]:
    """Return the serialized size and the extra PSS in MB, and the second over the first."""
    full = in_new_process(entries, workers, serialize_data, package, from_file)
    empty = in_new_process(0, workers, serialize_data, package, from_file)
    size = full["serialized"] or in_new_process(entries, 1, True, package, from_file)["serialized"]
    extra = full["pss"] - empty["pss"]
    return {"serialized_mb": size / 1e6, "extra_pss_mb": extra / 1e6, "ratio": extra / size}


def main() -> None:
    """Print the table, or one measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--measure", help="arguments of measure, as JSON")
    parser.add_argument("--entries", type=int, default=ENTRIES)
    parser.add_argument("--workers", type=int, default=WORKERS)
    parser.add_argument("--package", default="mm2pl", help="mm2pl or mmengine")
    parser.add_argument("--lists", action="store_true", help="measure serialize_data=False too")
    parser.add_argument("--from-file", action="store_true", help="read them from a JSON file")
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(*json.loads(options.measure))))
        return
    for serialize_data in (True, False) if options.lists else (True,):
        row = ratio(
            options.entries, options.workers, serialize_data, options.package, options.from_file
        )
        figures = "  ".join(f"{name} {value:8.2f}" for name, value in row.items())
        print(f"{options.package} serialize_data={serialize_data!s:5}  {figures}")


if __name__ == "__main__":
    main()
