"""One process a GPU that trains from a config whose strategy shards the model; save what came out.

``python -m torch.distributed.run --standalone --nproc-per-node N on_gpu.py FOLDER BACKEND NAME…``
"""

import os
import sys
from pathlib import Path
from typing import Any

import torch

from mm2pl.config import Config
from mm2pl.runner import Runner
from tests.lightning.processes import fully_sharded
from tests.versions.project import CONFIG

PARTS = {
    "auto_wrap_policy": {"type": "by_size", "min_num_params": 10},
    "activation_checkpointing": {"check_fn": "is_relu"},
}
STRATEGIES: dict[str, dict[str, Any] | None] = {
    "ddp": None,
    "FSDP2": {"type": "FSDP2"},
    "FSDP2 in parts, first process only": {"type": "FSDP2", "meta_init": True, **PARTS},
    "FSDP2, offloaded": {"type": "FSDP2", "cpu_offload": True},
    "FSDP": {"type": "FSDPStrategy"},
    "FSDP in parts": {"type": "FSDPStrategy", **PARTS},
    "DeepSpeed": {"type": "DeepSpeedStrategy", "zero_optimization": {"stage": 2}},
}


def run(name: str, backend: str, **changes: Any) -> list[float]:
    """Return the losses of a training."""
    config = Config.fromfile("config.py")
    config.merge_from_dict(
        {
            "model.type": "Deeper",
            "launcher": "pytorch",
            "log_level": "ERROR",
            "env_cfg": {"dist_cfg": {"backend": backend}},
            "work_dir": name,
            "optim_wrapper.clip_grad": {"max_norm": 1.0},
            **changes,
        }
    )
    if STRATEGIES[name] is not None:
        config.strategy = STRATEGIES[name]
    book = fully_sharded.Book()
    runner = Runner.from_cfg(config)
    runner.register_hook(book)
    runner.train()
    assert 0 <= runner.val()["smoke/accuracy"] <= 1
    return [float.fromhex(loss) for loss in book.losses]


def main(folder: str, backend: str, *names: str) -> None:
    os.chdir(folder)
    if os.environ["RANK"] == "0":
        Path("config.py").write_text(CONFIG)
    torch.distributed.init_process_group(backend)
    torch.distributed.barrier()
    results = {}
    for name in names:
        results[name] = run(name, backend)
        results[f"{name}, resumed"] = run(
            name, backend, load_from=f"{name}/epoch_1.pth", resume=True
        )
    if os.environ["RANK"] == "0":
        torch.save(results, "results.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
