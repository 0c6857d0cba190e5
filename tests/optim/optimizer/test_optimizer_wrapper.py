"""Accumulation windows, clipping, states; in a hand-written loop."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import nn

from mm2pl.logging import MessageHub, MMLogger
from mm2pl.optim import OptimWrapper


def sgd(model: nn.Module, **kwargs: Any) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": 1.0, **kwargs})


def scalar() -> nn.Module:
    """Return a model of one weight, 0, whose gradient for ``w * x`` is ``x``."""
    model = nn.Module()
    model.w = nn.Parameter(torch.zeros(()))
    return model


def played(wrapper: OptimWrapper, model: nn.Module, inputs: list[float]) -> list[float]:
    """Return the weight after each iteration of loss ``-w * x``: it grows by the mean x."""
    seen = []
    for x in inputs:
        with wrapper.optim_context(model):
            loss = -model.w * x
        wrapper.update_params(loss)
        seen.append(model.w.item())
    return seen


WINDOWS = {
    "1": (1, None, [1, 3, 6, 10, 15]),
    "2": (2, None, [0, 1.5, 1.5, 5, 5]),
    "2 of 5": (2, 5, [0, 1.5, 1.5, 5, 10]),
    "3 of 5": (3, 5, [0, 0, 2, 2, 6.5]),
    "8 of 5": (8, 5, [0, 0, 0, 0, 3]),
}


@pytest.mark.parametrize(("counts", "max_counts", "expected"), WINDOWS.values(), ids=WINDOWS)
def test_windows_are_means_and_only_the_runs_last_is_shorter(
    counts: int, max_counts: int | None, expected: list[float]
) -> None:
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=counts)
    if max_counts is not None:
        wrapper.initialize_count_status(model, 0, max_counts)
    assert played(wrapper, model, [1, 2, 3, 4, 5]) == pytest.approx(expected)
    assert wrapper.inner_count == 5


def test_more_iterations_than_announced() -> None:
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    with pytest.raises(AssertionError, match="iteration 4 is beyond the 4"):
        played(wrapper, model, [1] * 5)


def test_gradients_are_synchronised_once_per_window() -> None:
    events: list[str] = []

    class Parallel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        @contextmanager
        def no_sync(self) -> Iterator[None]:
            events.append("no sync")
            yield

    model = Parallel()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=3)
    wrapper.initialize_count_status(model, 0, 8)
    for _ in range(8):
        with wrapper.optim_context(model):
            events.append("forward")
        wrapper.update_params(model.w * 1)
    quiet = ["no sync", "forward"]
    assert events == [*quiet, *quiet, "forward"] * 2 + [*quiet, "forward"]


def test_finer_steps_and_their_arguments() -> None:
    model = scalar()
    wrapper = OptimWrapper(sgd(model))
    (model.w * 3).backward()
    wrapper.zero_grad(set_to_none=False)
    assert model.w.grad == 0
    wrapper.backward(-model.w * 2, retain_graph=True)
    wrapper.step(closure=None)
    assert (model.w.item(), wrapper.inner_count) == (2.0, 1)
    wrapper.update_params(
        -model.w, step_kwargs={"closure": None}, zero_kwargs={"set_to_none": False}
    )
    assert model.w.grad == 0


CLIPS: dict[str, tuple[dict[str, Any], list[float], str | None]] = {
    "norm": ({"max_norm": 1}, [0.6, 0.8], "train/grad_norm"),
    "norm 1": ({"type": "norm", "max_norm": 1, "norm_type": 1}, [3 / 7, 4 / 7], "train/grad_norm"),
    "value": ({"type": "value", "clip_value": 3.5}, [3, 3.5], None),
    "value, without a type": ({"clip_value": 0.2}, [0.2, 0.2], None),
}


@pytest.mark.parametrize(("clip_grad", "expected", "logged"), CLIPS.values(), ids=CLIPS)
def test_clips(clip_grad: dict[str, Any], expected: list[float], logged: str | None) -> None:
    hub = MessageHub.get_instance("clip")
    before = dict(clip_grad)
    w, unused = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    wrapper = OptimWrapper(torch.optim.SGD([w, unused], lr=1.0), clip_grad=clip_grad)
    wrapper.update_params(-(w * torch.tensor([3.0, 4.0])).sum())
    assert w.tolist() == pytest.approx(expected, rel=1e-5)
    assert list(hub.log_scalars) == ([logged] if logged else [])
    assert clip_grad == before


def test_the_logged_norm_is_the_one_before_clipping() -> None:
    hub = MessageHub.get_instance("norm")
    w = nn.Parameter(torch.zeros(2))
    wrapper = OptimWrapper(torch.optim.SGD([w], lr=1.0), clip_grad={"max_norm": 1})
    wrapper.update_params((w * torch.tensor([3.0, 4.0])).sum())
    assert hub.get_scalar("train/grad_norm").current() == 5.0


def test_nonfinite_gradients_can_be_an_error() -> None:
    w = nn.Parameter(torch.zeros(1))
    clip_grad = {"max_norm": 1, "error_if_nonfinite": True}
    wrapper = OptimWrapper(torch.optim.SGD([w], lr=1.0), clip_grad=clip_grad)
    with pytest.raises(RuntimeError, match="non-finite"):
        wrapper.update_params((w * float("inf")).sum())


REFUSED = {
    "empty": ({"clip_grad": {}}, AssertionError, r"must be a dict such as .* but got \{\}"),
    "number": ({"clip_grad": 0.2}, AssertionError, r"If `clip_grad` is not None, .* but got 0\.2"),
    "misspelt": (
        {"clip_grad": {"max_nrm": 1}},
        TypeError,
        r"\['max_nrm'\] → type='norm' takes max_norm, norm_type, .*Did you mean 'max_norm'",
    ),
    "norm and value": (
        {"clip_grad": {"max_norm": 1, "clip_value": 2}},
        TypeError,
        r"\['max_norm'\] → type='value' takes clip_value",
    ),
    "only a type": ({"clip_grad": {"type": "norm"}}, AssertionError, "lacks max_norm"),
    "other type": ({"clip_grad": {"type": "l2", "max_norm": 1}}, ValueError, "type='l2' must be"),
    "window": (
        {"accumulative_counts": 0},
        AssertionError,
        "accumulative_counts=0 must be at least",
    ),
}


@pytest.mark.parametrize(("kwargs", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_refuses(kwargs: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        OptimWrapper(sgd(scalar()), **kwargs)


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_window_goes_on_after_a_resume(stop: int) -> None:
    inputs = [1.0, 2, 3, 4, 5, 6, 7, 8]
    settings = {"momentum": 0.9}

    def start(model: nn.Module) -> OptimWrapper:
        wrapper = OptimWrapper(sgd(model, **settings), accumulative_counts=3)
        wrapper.initialize_count_status(model, 0, 8)
        return wrapper

    whole = scalar()
    expected = played(start(whole), whole, inputs)
    first = scalar()
    wrapper = start(first)
    played(wrapper, first, inputs[:stop])
    file = io.BytesIO()
    torch.save([first.state_dict(), wrapper.state_dict()], file)
    file.seek(0)
    weights, state = torch.load(file, weights_only=True)
    second = scalar()
    second.load_state_dict(weights)
    wrapper = OptimWrapper(sgd(second, **settings), accumulative_counts=3)
    wrapper.load_state_dict(state)
    wrapper.initialize_count_status(second, stop, 8)
    assert played(wrapper, second, inputs[stop:]) == expected[stop:]


def test_a_restored_count_is_that_of_updates_and_counts_once() -> None:
    """A ``train_step`` that updates three times has called ``update_params`` six times in two iterations."""
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=4)
    played(wrapper, model, [1.0] * 6)
    other = OptimWrapper(sgd(model), accumulative_counts=4)
    other.load_state_dict(wrapper.state_dict())
    other.initialize_count_status(model, 2, 10)
    assert other.inner_count == 6
    other.initialize_count_status(model, 0, 10)  # another run
    assert other.inner_count == 0


def test_gradients_that_another_loss_left_are_kept() -> None:
    """A GAN's generator loss also reaches the discriminator, whose next update adds to it."""
    model = scalar()
    wrapper = OptimWrapper(sgd(model))
    played(wrapper, model, [1.0])
    assert "accumulation" not in wrapper.state_dict()
    (-model.w * 3.0).backward()
    grads = wrapper.state_dict()["accumulation"]["grads"]
    assert grads == [{"0.0": torch.tensor(-3.0)}]
    restored = scalar()
    other = OptimWrapper(sgd(restored))
    other.load_state_dict(wrapper.state_dict())
    assert torch.equal(restored.w.grad, torch.tensor(-3.0))


def test_only_an_open_window_keeps_gradients() -> None:
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=2)
    played(wrapper, model, [1.0, 2.0])
    assert wrapper.state_dict()["accumulation"] == {"inner_count": 2, "grads": [{}]}
    played(wrapper, model, [4.0])
    assert wrapper.state_dict()["accumulation"] == {
        "inner_count": 3,
        "grads": [{"0.0": torch.tensor(-2.0)}],
    }


def test_a_window_of_two_processes_goes_on_in_one(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("wrapper").addHandler(caplog.handler)
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=2)
    played(wrapper, model, [4.0])
    state = wrapper.state_dict()
    state["accumulation"]["grads"].append({"0.0": torch.tensor(6.0)})
    wrapper.load_state_dict(state)
    assert torch.equal(model.w.grad, torch.tensor(2.0))  # of -2 and 6
    (said,) = warnings_of(caplog)
    assert "holds the gradients of 2 processes, and 1 go on: with their mean" in said


def test_loading_leaves_the_given_state_alone() -> None:
    params = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    wrapper = OptimWrapper(torch.optim.SGD(params, lr=1.0), accumulative_counts=2)
    state = wrapper.state_dict()
    keys = list(state)
    wrapper.load_state_dict(state)
    assert list(state) == keys == ["state", "param_groups", "base_param_settings", "accumulation"]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def test_warns_of_lost_gradients_and_batch_norm(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("wrapper").addHandler(caplog.handler)
    model = nn.Sequential(nn.Linear(1, 1), nn.SyncBatchNorm(1))
    wrapper = OptimWrapper(sgd(model), accumulative_counts=3)
    wrapper.initialize_count_status(model, 4, 10)
    lost, norm = warnings_of(caplog)
    assert "Resumed iteration number 4 is inside an accumulation window of 3" in lost
    assert "BatchNorm" in norm


def test_does_not_warn_of_gradients_that_are_there(caplog: pytest.LogCaptureFixture) -> None:
    MMLogger.get_instance("wrapper").addHandler(caplog.handler)
    model = scalar()
    wrapper = OptimWrapper(sgd(model), accumulative_counts=3)
    played(wrapper, model, [1.0])
    wrapper.load_state_dict(wrapper.state_dict())
    wrapper.initialize_count_status(model, 1, 10)
    assert warnings_of(caplog) == []


def test_several_groups_have_a_base() -> None:
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr": 0.1 * k} for k in (1, 2)]
    wrapper = OptimWrapper(torch.optim.Adam(groups, lr=0.5, betas=(0.8, 0.9)))
    assert wrapper.get_lr() == {"base_lr": [0.5], "lr": [0.1, 0.2]}
    assert wrapper.get_momentum() == {"momentum": [0.8, 0.8]}
    assert [group["lr"] for group in wrapper.param_groups] == [0.1, 0.2, 0.5]
    assert wrapper.defaults["betas"] == (0.8, 0.9)


def test_momentum_of_an_optimizer_without_is_0() -> None:
    wrapper = OptimWrapper(torch.optim.Adagrad([nn.Parameter(torch.zeros(1))]))
    assert wrapper.get_momentum() == {"momentum": [0]}


def test_repr_names_the_window_and_the_optimizer() -> None:
    text = repr(OptimWrapper(sgd(scalar()), accumulative_counts=3))
    assert text.startswith("Type: OptimWrapper\n_accumulative_counts: 3\noptimizer: \nSGD (")
