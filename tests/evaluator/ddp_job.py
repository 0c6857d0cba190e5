"""One of several processes that evaluate together: ``ddp_job.py PACKAGE RANK WORLD_SIZE STORE``.

Prints, as JSON, what `PACKAGE` (mm2pl or mmengine) makes of each data set length and batch size.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import torch

CASES = [(length, batch) for length in (1, 2, 7, 8, 13) for batch in (1, 3, 4)]
PRELOADED = torch.rand(20, 3, generator=torch.Generator().manual_seed(0))
TORCHMETRICS = {
    "MulticlassAccuracy": {"num_classes": 3, "average": "micro"},
    "MulticlassConfusionMatrix": {"num_classes": 3},
    "MulticlassAveragePrecision": {"num_classes": 3, "average": None},  # keeps lists
    "MeanSquaredError": {},
}


class Numbers:
    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def metric_classes(package: str) -> list:
    base = import_module(f"{package}.evaluator").BaseMetric

    class PerSample(base):
        default_prefix = "sample"

        def process(self, data_batch, data_samples):
            self.results.extend({"id": i, "score": PRELOADED[i]} for i in data_batch)

        def compute_metrics(self, results):
            mean = torch.stack([r["score"] for r in results]).mean().item()
            return {"ids": [r["id"] for r in results], "mean": mean}

    class PerBatch(base):
        default_prefix = "batch"

        def process(self, data_batch, data_samples):
            self.results.append(list(data_batch))

        def compute_metrics(self, results):
            return {"ids": results}

    return [PerSample(), PerBatch(), PerSample(collect_device="gpu", prefix="communicated")]


def predictions(batch: list[int], name: str) -> tuple[torch.Tensor, torch.Tensor]:
    scores = PRELOADED[batch].softmax(-1)
    labels = torch.tensor([index % 3 for index in batch])
    return (scores[:, 0], labels / 3) if name == "MeanSquaredError" else (scores, labels)


def evaluate_torchmetrics(loader, size: int) -> dict:
    from mm2pl.evaluator import Evaluator

    values = {}
    for name, options in TORCHMETRICS.items():
        path = f"torchmetrics.{'' if name == 'MeanSquaredError' else 'classification.'}{name}"
        evaluator = Evaluator({"type": path, **options})
        for batch in loader:
            evaluator.process(predictions(batch, name), batch)
        values.update(evaluator.evaluate(size))
    return values


def evaluate(package: str, length: int, batch_size: int, round_up: bool = True) -> dict:
    evaluator = import_module(f"{package}.evaluator").Evaluator(metric_classes(package))
    config = {
        "dataset": Numbers(length),
        "batch_size": batch_size,
        "sampler": {"type": "DefaultSampler", "shuffle": False, "round_up": round_up},
        "collate_fn": {"type": "pseudo_collate"},
    }
    if package == "mm2pl":
        loader = import_module("mm2pl.dataset").build_dataloader(config)
    else:
        loader = import_module("mmengine.runner").Runner.build_dataloader(config)
    for batch in loader:
        evaluator.process(batch, batch)
    values = evaluator.evaluate(length)
    if package == "mm2pl":
        values.update(evaluate_torchmetrics(loader, length))
    return values


def run(package: str, world_size: int, folder: Path) -> list[dict]:
    """Run this file in real processes; return each rank's values by case."""
    arguments = [str(world_size), str(folder / f"{package}-{world_size}")]
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, package, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,  # results travel through files below it
        )
        for rank in range(world_size)
    ]
    outputs = [process.communicate(timeout=240) for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(out.splitlines()[-1]) for out, _ in outputs]


def main(package: str, rank: int, world_size: int, store: str) -> None:
    if world_size > 1:
        torch.distributed.init_process_group(
            "gloo", init_method=f"file://{store}", rank=rank, world_size=world_size
        )
    results = {str(case): evaluate(package, *case) for case in CASES}
    results["uneven"] = evaluate(package, 7, 2, round_up=False)
    print(json.dumps(results))
    if world_size > 1:
        # A process that ends while gloo's threads live may be aborted by them: "terminate called".
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
