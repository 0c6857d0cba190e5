from __future__ import annotations

import pytest
import torch

from mm2pl.hooks import EMAHook, Hook


class Train(Hook):
    """Move the weight by one per iteration, before the EMA sees it."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        runner.model.weight.data += 1


def weights(model) -> float:
    return model.weight.detach()[0, 0].item()


def zeroed(runner):
    torch.nn.init.zeros_(runner.model.weight)
    return runner


def test_average_of_each_iteration(make_runner):
    hook = EMAHook(momentum=0.5)
    zeroed(make_runner(Train(), hook, epochs=1, batches=3)).train()
    assert weights(hook.src_model) == 3
    # The first update copies: 1; then (1 + 2) / 2 and (1.5 + 3) / 2.
    assert weights(hook.ema_model.module) == 2.25


@pytest.mark.parametrize(
    ("arguments", "average"),
    [({"begin_iter": 3}, 3), ({"begin_epoch": 2}, 3.5), ({"begin_iter": 4}, 4)],
    ids=["iter-3", "epoch-2", "iter-4"],
)
def test_until_the_beginning_the_average_is_a_copy(make_runner, arguments, average):
    hook = EMAHook(momentum=0.5, **arguments)
    batches = 3 if "begin_iter" in arguments and arguments["begin_iter"] == 3 else 4
    if "begin_epoch" in arguments:
        zeroed(make_runner(Train(), hook, epochs=2, batches=2)).train()
        assert weights(hook.ema_model.module) == average
        return
    zeroed(make_runner(Train(), hook, epochs=1, batches=batches)).train()
    assert weights(hook.ema_model.module) == average


@pytest.mark.parametrize("mode", ["val", "test"])
def test_evaluation_sees_the_average_and_training_does_not(make_runner, mode):
    seen = []

    class Spy(Hook):
        def _after_iter(self, runner, batch_idx, data_batch=None, outputs=None, mode="train"):
            seen.append((mode, weights(runner.model)))

    hook = EMAHook(momentum=0.5)
    runner = zeroed(make_runner(Train(), hook, Spy(), epochs=1, batches=3))
    runner.train()
    with torch.inference_mode():
        runner.evaluate(mode, {"acc": 1.0})
    assert seen == [("train", 1), ("train", 2), ("train", 3), (mode, 2.25), (mode, 2.25)]
    assert weights(runner.model) == 3
    loss = runner.model(torch.ones(1, 2)).sum()
    loss.backward()


def test_a_checkpoint_holds_the_average_as_the_model(make_runner):
    hook = EMAHook(momentum=0.5)
    runner = zeroed(make_runner(Train(), hook, epochs=1, batches=3))
    runner.train()
    checkpoint = {"state_dict": dict(runner.model.state_dict())}
    hook.before_save_checkpoint(runner, checkpoint)
    assert checkpoint["state_dict"]["weight"][0, 0] == 2.25
    assert checkpoint["ema_state_dict"]["module.weight"][0, 0] == 3

    other = EMAHook(momentum=0.5)
    resumed = make_runner(other)
    other.before_run(resumed)
    resumed._resume = True
    other.after_load_checkpoint(resumed, checkpoint)
    assert checkpoint["state_dict"]["weight"][0, 0] == 3
    assert weights(other.ema_model.module) == 2.25
    assert other.ema_model.steps == 3


def test_weights_that_a_model_keeps_out_of_its_files_are_not_exchanged(make_runner):
    hook = EMAHook(momentum=0.5)
    runner = zeroed(make_runner(Train(), hook, epochs=1, batches=3))
    runner.train()
    whole = runner.model.state_dict()
    checkpoint = {"state_dict": {name: whole[name] for name in whole if name != "weight"}}
    hook.before_save_checkpoint(runner, checkpoint)
    assert "weight" not in checkpoint["state_dict"]
    assert checkpoint["ema_state_dict"]["module.weight"][0, 0] == 2.25


def test_loading_weights_starts_the_average_from_them(make_runner):
    hook = EMAHook()
    runner = make_runner(hook)
    hook.before_run(runner)
    state = {name: torch.full_like(value, 5) for name, value in runner.model.state_dict().items()}
    hook.after_load_checkpoint(runner, {"state_dict": state})
    assert weights(hook.ema_model.module) == 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"begin_iter": 1, "begin_epoch": 1}, "should not be both set, but got 1 and 1"),
        ({"begin_iter": -1}, "`begin_iter` must be larger"),
        ({"begin_epoch": -1}, "`begin_epoch` must be larger"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        EMAHook(**arguments)


@pytest.mark.parametrize("arguments", [{"begin_iter": 7}, {"begin_epoch": 3}])
def test_a_beginning_after_the_end(make_runner, arguments):
    with pytest.raises(ValueError, match="EMAHook would never begin"):
        make_runner(EMAHook(**arguments)).train()
