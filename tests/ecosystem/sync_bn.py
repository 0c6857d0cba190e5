"""Normalise half of a batch in each of two processes by MMCV's SyncBatchNorm; compare with the whole batch in one.

Run by ``torchrun`` with names of dtypes. With ``stats_mode`` ``N`` the second process has fewer images:
there MMCV 2.1.0 divides gradients and the running variance by each process's own count, so only the rest is compared.
"""

from __future__ import annotations

import sys

import torch
from torch import Tensor
from torch import distributed as dist
from torch.nn import functional

from mm2pl.compat import alias_mmengine

SHARES = {"default": (4, 4), "N": (6, 2)}
TOLERANCE = {torch.float16: 2e-3, torch.float32: 1e-5}


def expected(input: Tensor, grad: Tensor) -> tuple[Tensor, ...]:
    """Return the output, the gradients and the running statistics of the whole batch, in float64."""
    leaves = [input.double(), torch.linspace(1, 2, 3).double(), torch.zeros(3).double()]
    leaves = [each.requires_grad_() for each in leaves]
    mean, var = torch.zeros(3).double(), torch.ones(3).double()
    output = functional.batch_norm(leaves[0], mean, var, *leaves[1:], training=True, momentum=0.1)
    return (output, *torch.autograd.grad(output, leaves, grad.double()), mean, var)


def main(kind: torch.dtype, mode: str) -> None:
    """Compare one process's share."""
    torch.manual_seed(0)
    input, grad = (torch.randn(8, 3, 4, 5).to(kind) for _ in range(2))
    rank, shares = dist.get_rank(), SHARES[mode]
    own = slice(0, shares[0]) if rank == 0 else slice(shares[0], 8)
    with alias_mmengine():
        from mmcv.ops import SyncBatchNorm

        layer = SyncBatchNorm(3, stats_mode=mode)
    layer.weight.data.copy_(torch.linspace(1, 2, 3))
    leaf = input[own].clone().requires_grad_()
    output = layer(leaf)
    assert output.dtype == kind
    output.backward(grad[own])
    whole, to_input, to_weight, to_bias, mean, var = expected(input, grad)
    # MMCV averages the gradients of its parameters, as DDP does with all others.
    pairs = {
        "output": (output, whole[own]),
        "input": (leaf.grad, to_input[own]),
        "weight": (layer.weight.grad, to_weight / 2),
        "bias": (layer.bias.grad, to_bias / 2),
        "mean": (layer.running_mean, mean),
        "var": (layer.running_var, var),
    }
    for name in ("output", "mean") if mode == "N" else pairs:
        found, wanted = pairs[name]
        apart = float((found.double() - wanted).abs().max() / wanted.abs().max())
        assert apart < TOLERANCE[kind], (kind, mode, name, apart)


if __name__ == "__main__":
    dist.init_process_group("gloo")
    for name in sys.argv[1:]:
        for mode in SHARES:
            main(getattr(torch, name), mode)
    dist.destroy_process_group()
