"""1.x runners that override ``train`` or ``run``, or have modes of their own."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.mmcv import runner as ours
from tests.mmcv.own_runners import loader, made, runners
from tests.processes import trained

pytestmark = pytest.mark.filterwarnings("ignore")

# `made` with MMCV 1.7.2 (MMCV_WITH_OPS=0 pip install --no-build-isolation --no-deps mmcv==1.7.2), where it was the same
# bit for bit: calls, the first loss, where the last call was, its loss, and the learning rate there.
MMCV = {
    "own train": (16, 0.005301855, "val", 2, 12, 1, 0.002550144, 0.05),
    "super().train": (10, 0.01497511, "val", 2, 6, 1, 0.00232121, 0.05),
    "own run": (12, 0.006679108, "val", 2, 6, 1, 0.000987308, 0.05),
    "super().run": (15, 0.020758234, "val", 2, 10, 0, 0.002955199, 0.005000000000000001),
    "dynamic": (8, 0.020758234, "val", 1, 5, 0, 0.00822272, 0.005000000000000001),
    "flows": (5, 0.002041081, "train", 1, 4, 1, 0.020615363, 0.05),
}


@pytest.mark.parametrize("name", MMCV)
def test_it_trains_as_in_mmcv(name, tmp_path):
    runner, workflow, seen = made(ours, name, str(tmp_path))
    returned = runner.run([loader(), loader(7)], workflow)
    assert returned == ("what run returns" if name == "own run" else None)
    losses = [float.fromhex(row[4]) for row in (seen[0], seen[-1])]
    rate = float.fromhex(seen[-1][5])
    count, first, *last, loss, lr = MMCV[name]
    assert (len(seen), *seen[-1][:4], rate) == (count, *last, lr)
    assert losses == pytest.approx([first, loss], rel=1e-5)


# A run that is resumed from a file of its own and made longer, with MMCV 1.7.2: the file, calls, the first loss, where
# the last call was, and its loss.
RESUMED = {
    "own train": ("epoch_2.pth", 16, 0.010738485, "val", 4, 24, 1, 0.010077223),
    "super().train": ("epoch_2.pth", 10, 0.004246332, "val", 4, 12, 1, 0.005862342),
    "own run": ("epoch_2.pth", 12, 0.000931389, "val", 4, 12, 1, 0.001335637),
    "dynamic": ("iter_4.pth", 8, 0.003188595, "val", 1, 8, 0, 0.007663333),
    "super().run": ("iter_4.pth", 20, 0.009198560, "val", 3, 16, 0, 0.000773043),
    "flows": ("epoch_2.pth", 5, 0.000710348, "train", 3, 9, 1, 0.011632518),
}


@pytest.mark.parametrize("name", RESUMED)
def test_it_resumes_as_in_mmcv(name, tmp_path):
    file, count, first, *last, loss = RESUMED[name]
    runner, workflow, _ = made(ours, name, str(tmp_path))
    runner.run([loader(), loader(7)], workflow)
    runner, workflow, seen = made(ours, name, str(tmp_path))
    runner.resume(str(tmp_path / file))
    if runner._max_epochs:
        runner._max_epochs = 4
    else:
        runner._max_iters = 8
    torch.manual_seed(9)
    runner.run([loader(), loader(7)], workflow)
    losses = [float.fromhex(row[4]) for row in (seen[0], seen[-1])]
    assert (len(seen), *seen[-1][:4]) == (count, *last)
    assert losses == pytest.approx([first, loss], rel=1e-5)


@pytest.mark.parametrize("name", ["own train", "dynamic"])
def test_a_step_of_ones_own_is_in_half_precision(name, tmp_path):
    runner, workflow, _ = made(ours, name, str(tmp_path))
    runner.hooks[:] = [each for each in runner.hooks if not isinstance(each, ours.OptimizerHook)]
    runner.register_hook(ours.Fp16OptimizerHook())
    inside, outside = [], []
    runner.model.register_forward_hook(lambda model, given, output: inside.append(output.dtype))
    note = {"after_iter": lambda self, each: outside.append(torch.is_autocast_enabled("cpu"))}
    runner.register_hook(type("Note", (ours.Hook,), note)())
    weights = runner.model.first.weight.clone()
    runner.run([loader(), loader(7)], workflow)
    assert len(inside) == len(outside) == MMCV[name][0]
    assert set(inside) == {torch.float16}
    assert set(outside) == {False}
    assert not torch.equal(weights, runner.model.first.weight)


class Recorder(Callback):
    """Write down each stage with Lightning's counters."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int, int]] = []


def _note(stage: str) -> Any:
    def note(self: Recorder, trainer: Any, module: Any, *rest: Any) -> None:
        if stage == "on_train_batch_end":
            module.log("loss", rest[0]["loss"] if rest[0] else module.runner.outputs["loss"])
        batch = rest[-1] if rest else -1
        self.seen.append((stage, batch, trainer.current_epoch, trainer.global_step))

    return note


for _stage in ("fit_start", "train_start", "train_epoch_start", "train_batch_start", "train_batch_end",
               "train_epoch_end", "train_end", "fit_end"):  # fmt: skip
    setattr(Recorder, f"on_{_stage}", _note(f"on_{_stage}"))


@pytest.mark.parametrize(
    ("own", "plain"),
    [("super().train", ours.EpochBasedRunner), ("dynamic", ours.IterBasedRunner)],
)  # fmt: skip
def test_callbacks_see_what_they_see_of_other_runs(own, plain, tmp_path, monkeypatch):
    seen = []
    flows = runners(ours)[own][1]
    for cls in (runners(ours)[own][0], plain):
        recorder = Recorder()
        monkeypatch.setattr(made.__module__ + ".runners", lambda base, cls=cls: {own: (cls, flows)})
        runner, _, _ = made(ours, own, str(tmp_path), trainer={"callbacks": [recorder]})
        runner.run([loader(), loader(7)], flows)
        seen.append(recorder.seen)
        assert "loss" in runner.trainer.callback_metrics
    assert seen[0] == seen[1]
    assert len(seen[0]) > 15


def test_train_by_itself_is_one_epoch(tmp_path):
    runner, _, seen = made(ours, "super().train", str(tmp_path))
    runner.train(loader())
    assert (runner.epoch, runner.iter, len(seen), runner.module) == (1, 3, 3, None)


class Stops(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        trainer.should_stop = trainer.global_step == 4


class Terminates(Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.global_step == 4:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(
    "trainer", [{"callbacks": [Stops()]}, {"max_steps": 4}], ids=["should_stop", "max_steps"]
)
@pytest.mark.parametrize("name", ["own run", "dynamic"])
def test_what_ends_a_fit_ends_it(trainer, name, tmp_path):
    ended = []
    runner, workflow, _ = made(ours, name, str(tmp_path), trainer=trainer)
    runner.register_hook(
        type("End", (ours.Hook,), {"after_run": lambda self, each: ended.append(each.iter)})()
    )
    runner.run([loader(), loader(7)], workflow)
    assert (runner.iter, ended) == (4, [4])


def test_sigterm_ends_it_before_the_next_batch(tmp_path):
    runner, workflow, _ = made(
        ours, "dynamic", str(tmp_path), trainer={"callbacks": [Terminates()]}
    )
    with pytest.raises(SIGTERMException):
        runner.run([loader(), loader(7)], workflow)
    assert runner.iter == 4


@pytest.mark.parametrize("flag", ["fast_dev_run", "overfit_batches", "limit_train_batches"])
def test_a_limit_that_cannot_reach_it_is_refused(flag, tmp_path):
    runner, workflow, _ = made(ours, "flows", str(tmp_path), trainer={flag: 1})
    with pytest.raises(
        ValueError, match=rf"trainer=dict\({flag}=1\) → Flows goes through the data itself"
    ):
        runner.run([loader(), loader(7)], workflow)


def in_two_processes(folder: str) -> None:
    """Train as one of two processes, with either way to go backward, and save the weights."""
    ours.init_dist("pytorch", backend="gloo")
    rank = int(os.environ["RANK"])
    weights = {}
    for name in ("own train", "dynamic"):
        runner, workflow, _ = made(ours, name, folder)
        torch.manual_seed(rank)
        if name == "dynamic":
            go_backward_in_the_model(runner)
        runner.run([loader(), loader(7)], workflow)
        weights[name] = runner.model.state_dict()
    torch.save(weights, f"{folder}/{rank}.pt")


def go_backward_in_the_model(runner: Any) -> None:
    step = runner.model.train_step

    def train_step(data: Any, optimizer: Any, **kwargs: Any) -> Any:
        outputs = step(data, **kwargs)
        optimizer.zero_grad()
        outputs["loss"].backward()
        optimizer.step()
        return outputs

    runner.model.train_step = train_step
    runner.hooks[:] = [each for each in runner.hooks if not isinstance(each, ours.OptimizerHook)]


@pytest.mark.slow
def test_two_processes_keep_the_same_weights(tmp_path):
    trained(__file__, tmp_path)
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert set(first) == {"own train", "dynamic"}
    for name, weights in first.items():
        for key, value in weights.items():
            assert torch.equal(value, second[name][key]), (name, key)


if __name__ == "__main__":
    in_two_processes(sys.argv[1])
