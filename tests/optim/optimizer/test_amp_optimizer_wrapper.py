"""Mixed precision: what is cast, how the loss is scaled."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.logging import MMLogger
from mm2pl.optim import AmpOptimWrapper, TorchExecutor

on_cpu = pytest.mark.skipif(torch.cuda.is_available(), reason="what happens without a GPU")


def wrapper(**kwargs: Any) -> tuple[AmpOptimWrapper, nn.Parameter]:
    w = nn.Parameter(torch.ones(2))
    settings = {"dtype": "bfloat16", **kwargs}
    return AmpOptimWrapper(optimizer=torch.optim.SGD([w], lr=1.0), **settings), w


SCALES = {
    "dynamic": ("dynamic", 65536.0),
    "static": (512.0, 512.0),
    "int": (128, 128.0),
    "dict": ({"init_scale": 4.0, "growth_interval": 1}, 4.0),
}


@pytest.mark.parametrize(("loss_scale", "scale"), SCALES.values(), ids=SCALES)
def test_scales_the_loss_and_unscales_the_gradient(loss_scale: Any, scale: float) -> None:
    amp, w = wrapper(loss_scale=loss_scale)
    amp.backward(-w.sum())
    assert w.grad is not None
    assert w.grad.tolist() == [-scale, -scale]
    amp.step()
    assert w.tolist() == [2.0, 2.0]


def test_clips_what_is_unscaled() -> None:
    amp, w = wrapper(loss_scale=512.0, clip_grad={"max_norm": 1})
    amp.update_params((w * torch.tensor([3.0, 4.0])).sum())
    assert w.tolist() == pytest.approx([1 - 0.6, 1 - 0.8], rel=1e-5)


def scale_after(amp: AmpOptimWrapper, w: nn.Parameter, factors: list[float]) -> list[float]:
    seen = []
    for factor in factors:
        amp.update_params((w * factor).sum())
        seen.append(amp.loss_scaler.get_scale())
    return seen


def test_a_number_is_static() -> None:
    amp, w = wrapper(loss_scale=512.0)
    assert scale_after(amp, w, [1, float("inf"), *[1] * 3]) == [512.0] * 5
    assert w.tolist() == [-3.0, -3.0]


def test_dynamic_backs_off_and_grows() -> None:
    amp, w = wrapper(loss_scale={"init_scale": 8.0, "growth_interval": 2})
    assert scale_after(amp, w, [1, float("inf"), 1, 1]) == [8.0, 4.0, 4.0, 8.0]


def test_saves_the_scaler() -> None:
    amp, w = wrapper(loss_scale={"init_scale": 8.0, "growth_interval": 5})
    scale_after(amp, w, [1, 1])
    state = amp.state_dict()
    assert list(state) == ["state", "param_groups", "loss_scaler"]
    assert state["loss_scaler"] == {
        **{"scale": 8.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 5},
        "_growth_tracker": 2,
    }
    other, _ = wrapper()
    other.load_state_dict(state)
    assert other.loss_scaler.state_dict() == state["loss_scaler"]
    del state["loss_scaler"]
    other.load_state_dict(state)
    assert other.loss_scaler.get_scale() == 8.0


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_casts_the_forward_pass(dtype: Any) -> None:
    amp, w = wrapper(dtype=dtype)
    with amp.optim_context(nn.Module()):
        assert (torch.ones(1, 2) @ w).dtype == torch.bfloat16
    assert (torch.ones(1, 2) @ w).dtype == torch.float32


REFUSED = {
    "scale": ({"loss_scale": "static"}, TypeError, "loss_scale='static' must be 'dynamic'"),
    "true": ({"loss_scale": True}, TypeError, "loss_scale=True must be"),
    "dtype": ({"dtype": "half"}, AssertionError, "dtype='half' must be one of"),
    "number": ({"dtype": 16}, AssertionError, "dtype=16 must be one of"),
}


@pytest.mark.parametrize(("kwargs", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrapper(**kwargs)


@on_cpu
@pytest.mark.parametrize("dtype", ["float16", torch.float64])
def test_a_cpu_only_casts_to_bfloat16(dtype: Any) -> None:
    with pytest.raises(RuntimeError, match="on a CPU → autocast computes in torch"):
        wrapper(dtype=dtype)


@on_cpu
def test_the_default_on_a_cpu_is_bfloat16_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("amp").addHandler(caplog.handler)
    amp, w = wrapper(dtype=None)
    with amp.optim_context(nn.Module()):
        assert (torch.ones(1, 2) @ w).dtype == torch.bfloat16
    (record,) = caplog.records
    assert (record.levelno, "casting to bfloat16" in record.getMessage()) == (logging.WARNING, True)


def test_the_executor_casts_and_makes_the_step_that_the_scaler_decides_on() -> None:
    amp, w = wrapper(dtype="bfloat16")
    calls: list[Any] = []

    class Executor(TorchExecutor):
        def autocast(self, dtype: torch.dtype | None) -> Any:
            calls.append(dtype)
            return super().autocast(dtype)

        def step(self, optimizer: torch.optim.Optimizer, scaler: Any = None, **kwargs: Any) -> Any:
            calls.append(scaler)
            return super().step(optimizer, scaler, **kwargs)

    amp.executor = Executor()
    with amp.optim_context(nn.Module()):
        loss = -w.sum()
    amp.update_params(loss)
    assert calls == [torch.bfloat16, amp.loss_scaler]
    assert w.tolist() == [2.0, 2.0]


def test_what_a_user_unscaled_is_not_unscaled_again() -> None:
    amp, w = wrapper(loss_scale=4.0)
    amp.backward(-w.sum())
    amp.loss_scaler.unscale_(amp.optimizer)
    amp.step()
    assert w.tolist() == [2.0, 2.0]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [None, "float16", "bfloat16"])
def test_trains_on_a_gpu(dtype: str | None) -> None:
    model = nn.Linear(4, 1).cuda()
    amp = AmpOptimWrapper(optimizer=torch.optim.SGD(model.parameters(), lr=0.1), dtype=dtype)
    x, losses = torch.ones(8, 4, device="cuda"), []
    for _ in range(20):
        with amp.optim_context(model):
            out = model(x)
        assert out.dtype == (amp.cast_dtype or torch.float16)
        loss = nn.functional.mse_loss(out.float(), x[:, :1])
        amp.update_params(loss)
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0] + 1e-3


@pytest.mark.gpu
def test_clipping_does_not_wait_for_the_gpu() -> None:
    from mm2pl.optim import OptimWrapper

    model = nn.Linear(4, 1).cuda()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    plain = OptimWrapper(sgd, clip_grad={"max_norm": 1.0})
    x = torch.ones(8, 4, device="cuda")
    plain.update_params(model(x).mean())
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            plain.update_params(model(x).mean())
    finally:
        torch.cuda.set_sync_debug_mode("default")
