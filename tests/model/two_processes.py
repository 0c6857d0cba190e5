"""One of two processes that train wrapped models; run as a script: package, rank, store file, output file.

The package is ``mm2pl`` or ``mmengine``: only the name differs.
"""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

SCENARIOS = ("plain", "accumulate", "separate", "sharded")


def line_model(model):
    class Line(model.BaseModel):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(
                nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1)
            )

        def forward(self, x, y, mode):
            out = self.layers(x).squeeze(1)
            return {"loss": F.mse_loss(out, y)} if mode == "loss" else out

    return Line()


def gan_model(model):
    class Gan(model.BaseModel):
        def __init__(self):
            super().__init__()
            self.generator = nn.Linear(4, 1)
            self.discriminator = nn.Linear(1, 1)
            self.frozen = nn.Linear(1, 1).requires_grad_(False)

        def train_step(self, data, optim_wrapper):
            x, y = self.data_preprocessor(data, True)
            with optim_wrapper["discriminator"].optim_context(self.discriminator):
                wrong = self.discriminator(self.generator(x).detach())
                right = self.discriminator(y[:, None])
                loss, log_vars = self.parse_losses(
                    {"loss_d": F.softplus(wrong) + F.softplus(-right)}
                )
            optim_wrapper["discriminator"].update_params(loss)
            with optim_wrapper["generator"].optim_context(self.generator):
                fake = self.frozen(self.discriminator(self.generator(x)))
                loss, more = self.parse_losses({"loss_g": F.softplus(-fake)})
            optim_wrapper["generator"].update_params(loss)
            return {**log_vars, **more}

        def forward(self, x, y, mode):
            return self.generator(x)

    return Gan()


def train(package, scenario, rank):
    """Return the weights after five steps, the logged losses, and a prediction."""
    model, optim = import_module(f"{package}.model"), import_module(f"{package}.optim")
    torch.manual_seed(0)
    if scenario == "separate":
        wrapped = model.MMSeparateDistributedDataParallel(gan_model(model))
        wrapper = optim.OptimWrapperDict(
            **{
                name: optim.OptimWrapper(
                    torch.optim.SGD(getattr(wrapped.module, name).parameters(), 0.1)
                )
                for name in ("generator", "discriminator")
            }
        )
    else:
        if scenario == "sharded":
            wrapped = model.MMFullyShardedDataParallel(
                line_model(model), sharding_strategy="FULL_SHARD", device_id=torch.device("cpu")
            )
        else:
            wrapped = model.MMDistributedDataParallel(line_model(model), broadcast_buffers=False)
        sgd = torch.optim.SGD(wrapped.parameters(), lr=0.1, momentum=0.9)
        wrapper = optim.OptimWrapper(sgd, accumulative_counts=2 if scenario == "accumulate" else 1)
        wrapper.initialize_count_status(wrapped, 0, 5)
    generator = torch.Generator().manual_seed(rank)
    wrapped.train()
    logs = []
    for _ in range(5):
        batch = (torch.randn(6, 4, generator=generator), torch.randn(6, generator=generator))
        logs.append({k: v.item() for k, v in wrapped.train_step(batch, wrapper).items()})
    wrapped.eval()
    prediction = wrapped.val_step(batch)
    assert torch.equal(prediction, wrapped.test_step(batch))
    return {"weights": wrapped.state_dict(), "logs": logs, "prediction": prediction.detach()}


def run(package, folder):
    """Run all scenarios in two processes; return for each scenario what the two have found."""
    outputs = [folder / f"{package}-{rank}.pth" for rank in range(2)]
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                __file__,
                package,
                str(rank),
                str(folder / f"{package}-store"),
                output,
            ],
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for rank, output in enumerate(outputs)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
    first, second = (torch.load(output) for output in outputs)
    return {scenario: (first[scenario], second[scenario]) for scenario in SCENARIOS}


def main():
    package, rank, store, output = sys.argv[1:]
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
    torch.save({scenario: train(package, scenario, int(rank)) for scenario in SCENARIOS}, output)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
