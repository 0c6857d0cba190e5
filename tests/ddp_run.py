"""One process of a run: ``torchrun --nproc-per-node 2 tests/ddp_run.py PACKAGE FOLDER [COUNTS [BROADCAST]]``.

Writes, per rank, what must be equal to the last bit, and how often gradients were averaged.
"""

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.scenarios import Scenario, build


def average(counts: list[int], bucket: dist.GradBucket) -> torch.futures.Future[torch.Tensor]:
    """Average gradients as DDP does without a communication hook, and count."""
    counts[0] += 1
    buffer = bucket.buffer().div_(dist.get_world_size())
    future = dist.all_reduce(buffer, async_op=True).get_future()
    return future.then(lambda done: done.value()[0])


def main(package: str, folder: str, counts: str = "1", broadcast: str = "") -> None:
    """Train, and save losses, metrics, weights and counts."""
    rank = int(os.environ["RANK"])
    batches: list[int] = []
    reduces = [0]
    book: dict[str, list] = {
        key: [] for key in ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    }
    base = importlib.import_module(f"{package}.hooks").Hook

    class Watch(base):
        def before_train(self, runner: Any) -> None:
            model = runner.model if package == "mmengine" else runner.trainer.strategy.model
            model.register_comm_hook(reduces, average)

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            batches.append(len(data_batch["labels"]))

    scenario = Scenario(
        optim_wrapper={
            "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
            "accumulative_counts": int(counts),
            "clip_grad": {"max_norm": 1.0},
        },
        param_scheduler={"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 8},
        custom_hooks=[Watch()],
    )
    wrapper: dict[str, Any] = {"broadcast_buffers": bool(broadcast)}
    if package == "mmengine":  # it expects a GPU per process
        torch.cuda.set_device = lambda device: None
        wrapper["device_ids"] = None
    runner = build(
        package,
        scenario,
        f"{folder}/{package}",
        book,
        launcher="pytorch",
        env_cfg={"dist_cfg": {"backend": "gloo"}},
        cfg={"model_wrapper_cfg": wrapper},
    )
    runner.train()
    model = getattr(runner.model, "module", runner.model)
    torch.save(
        {**book, "weights": model.state_dict(), "batches": batches, "reduces": reduces[0]},
        f"{folder}/{package}_{rank}.pt",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
