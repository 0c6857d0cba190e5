"""Nothing between two log lines may wait for the device."""

from __future__ import annotations

import pytest
import torch

from mm2pl.hooks import (
    CheckpointHook,
    DistSamplerSeedHook,
    IterTimerHook,
    LoggerHook,
    ParamSchedulerHook,
    RuntimeInfoHook,
)


def iterate(runner, loss, iterations):
    hooks = [
        RuntimeInfoHook(),
        IterTimerHook(),
        DistSamplerSeedHook(),
        LoggerHook(interval=1000),
        ParamSchedulerHook(),
        CheckpointHook(),
    ]
    runner.train_dataloader = range(10**6)
    for hook in hooks:
        hook.before_train_epoch(runner)
    for idx in range(iterations):
        for hook in hooks:
            hook.before_train_iter(runner, idx)
        for hook in hooks:
            hook.after_train_iter(runner, idx, None, {"loss": loss})
        runner.iter += 1


def test_tensors_without_values_pass_through_all_default_hooks(make_runner):
    """A meta tensor has no value to read: whoever asks for it fails."""
    runner = make_runner()
    loss = torch.zeros((), device="meta")
    with pytest.raises(RuntimeError, match="meta"):
        loss.item()
    iterate(runner, loss, 20)
    assert runner.iter == 20


@pytest.mark.gpu
def test_cuda_is_never_waited_for(make_runner):
    runner, loss = make_runner(), torch.ones((), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        iterate(runner, loss, 20)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert runner.message_hub.get_scalar("train/loss").mean(10) == 1.0
