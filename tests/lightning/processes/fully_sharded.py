"""One process of two that trains from a config whose strategy shards the model; save what came out."""

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.fsdp.wrap import size_based_auto_wrap_policy

from mm2pl.checkpoint.kinds import whole
from mm2pl.config import Config
from mm2pl.hooks import Hook
from mm2pl.registry import FUNCTIONS, MODELS
from mm2pl.runner import Runner
from tests.versions.project import CONFIG, SmokeModel

FUNCTIONS.register_module(name="by_size", module=size_based_auto_wrap_policy)


@FUNCTIONS.register_module()
def is_relu(module: nn.Module) -> bool:
    return isinstance(module, nn.ReLU)


@MODELS.register_module()
class Deeper(SmokeModel):
    """Two layers whose first weights are drawn, and a random number for each value between them in each iteration."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
        self.init_cfg = {"type": "Normal", "layer": "Linear", "std": 0.3}


class Book(Hook):
    """Note each loss, and how much of the model this process holds."""

    def __init__(self) -> None:
        self.losses: list[str] = []
        self.held = 0
        self.had_values = True

    def before_run(self, runner: Any) -> None:
        self.had_values &= not any(parameter.is_meta for parameter in runner.model.parameters())

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        self.losses.append(float(outputs["loss"]).hex())
        local = (getattr(p, "_local_tensor", p) for p in runner.model.parameters())
        self.held = sum(tensor.numel() for tensor in local)


SHARDED = {"type": "FSDP2"}
PARTS = {
    "type": "ModelParallelStrategy",
    "auto_wrap_policy": {"type": "by_size", "min_num_params": 10},
    "activation_checkpointing": {"check_fn": "is_relu"},
    "reshard_after_forward": True,
}
CLIPPED = {"optim_wrapper.clip_grad": {"max_norm": 0.3}}
RUNS: dict[str, dict[str, Any]] = {
    "ddp": {},
    "sharded": {"strategy": SHARDED},
    "in parts": {"strategy": PARTS},
    "first process only": {"strategy": {**PARTS, "meta_init": True}},
    "first process only, loaded": {
        "strategy": {**SHARDED, "meta_init": True},
        "load_from": "sharded/epoch_2.pth",
        "train_cfg.max_epochs": 1,
    },
    "resumed": {"strategy": SHARDED, "load_from": "sharded/epoch_1.pth", "resume": True},
    "folders": {"strategy": {**SHARDED, "save_distributed_checkpoint": True}},
    "resumed from a folder": {
        "strategy": SHARDED,
        "load_from": "folders/epoch_1.pth",
        "resume": True,
    },
    "loaded": {"strategy": SHARDED, "load_from": "sharded/epoch_2.pth", "train_cfg.max_epochs": 1},
    "loaded, ddp": {"load_from": "ddp/epoch_2.pth", "train_cfg.max_epochs": 1},
    "own seeds, ddp": {"randomness.diff_rank_seed": True},
    "own seeds": {"strategy": SHARDED, "randomness.diff_rank_seed": True},
    "clipped, ddp": CLIPPED,
    "clipped": {"strategy": SHARDED, **CLIPPED},
    "bf16": {"strategy": {**SHARDED, "mixed_precision": {"param_dtype": "bfloat16"}}},
    "averaged": {"strategy": SHARDED, "custom_hooks": [{"type": "EMAHook"}]},
}


def run(name: str) -> Any:
    """Return losses, weights, how much is held, accuracy, and whether the weights were made here; or what was said."""
    config = Config.fromfile("config.py")
    changes = {
        "model.type": "Deeper",
        "launcher": "pytorch",
        "log_level": "ERROR",
        "env_cfg": {"dist_cfg": {"backend": "gloo"}},
        "work_dir": name,
        "train_dataloader.batch_size": 4,
    }
    config.optim_wrapper.optimizer = {"type": "AdamW", "lr": 0.05}
    config.merge_from_dict({**changes, **RUNS[name]})
    book = Book()
    runner = Runner.from_cfg(config)
    runner.register_hook(book)
    try:
        runner.train()
    except ValueError as error:
        return str(error)
    accuracy = runner.val()["smoke/accuracy"]
    # Not the parameters: a validation leaves them gathered, in the type that is computed with.
    weights = {n: whole(value) for n, value in runner.model.state_dict().items()}
    return book.losses, weights, book.held, accuracy, book.had_values


def main(folder: str) -> None:
    os.chdir(folder)
    if os.environ["RANK"] == "0":
        Path("config.py").write_text(CONFIG)
    torch.distributed.init_process_group("gloo")
    torch.distributed.barrier()
    torch.save({name: run(name) for name in RUNS}, f"{os.environ['RANK']}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
