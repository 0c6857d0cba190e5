from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mm2pl.hooks import EarlyStoppingHook


@pytest.mark.parametrize(
    ("arguments", "scores", "epochs", "reason"),
    [
        pytest.param({}, (0.1, 0.3, 0.5), 3, None, id="improving"),
        pytest.param(
            {"patience": 2}, (0.5, 0.5, 0.5, 0.9), 3, "in the last 2 records", id="plateau"
        ),
        pytest.param(
            {"patience": 1, "min_delta": 0.3}, (0.5, 0.7), 2, "last 1 records", id="delta"
        ),
        pytest.param({"patience": 1, "rule": "less"}, (0.5, 0.2, 0.2), 3, "0.200", id="less"),
        pytest.param({}, (float("nan"), 0.5), 1, "nan is infinite", id="nan"),
        pytest.param({"check_finite": False}, (float("inf"), 0.5), 2, None, id="infinite-is-fine"),
        pytest.param(
            {"stopping_threshold": 0.8}, (0.1, 0.9, 1), 2, "greater than 0.8", id="enough"
        ),
    ],
)
def test_when_it_stops(make_runner, arguments, scores, epochs, reason):
    runner = make_runner(
        EarlyStoppingHook(monitor="acc", **arguments), epochs=len(scores), scores=scores
    )
    runner.train()
    assert runner.epoch == epochs
    assert runner.train_loop.stop_training is (reason is not None)
    assert reason is None or reason in runner.logger[-1]


def test_a_resumed_run_stops_where_the_whole_one_would(make_runner):
    first = EarlyStoppingHook(monitor="acc", patience=2)
    make_runner(first, epochs=2, scores=(0.9, 0.1)).train()
    second = EarlyStoppingHook(monitor="acc", patience=2)
    second.load_state_dict(first.state_dict())
    runner = make_runner(second, epochs=5, scores=(0.1,) * 5)
    runner.train()
    assert runner.epoch == 1


def test_a_metric_that_is_no_number(make_runner):
    with pytest.raises(TypeError, match=r"metric 'acc' is tensor\(\[1., 2.\]\) \(Tensor\) →"):
        EarlyStoppingHook(monitor="acc").after_val_epoch(
            make_runner(), {"acc": torch.tensor([1.0, 2.0])}
        )


def test_a_missing_metric(make_runner):
    runner = make_runner()
    with pytest.warns(UserWarning, match=r"metric 'loss' is not available, only \['acc'\] are"):
        EarlyStoppingHook(monitor="loss").after_val_epoch(runner, {"acc": 1})
    with pytest.raises(RuntimeError, match="conditioned on metric 'loss' is not available"):
        EarlyStoppingHook(monitor="loss", strict=True).after_val_epoch(runner, {"acc": 1})
    with pytest.warns(UserWarning, match="Skip early stopping process since metric 'acc' is None"):
        EarlyStoppingHook(monitor="acc").after_val_epoch(runner, {"acc": None})


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"monitor": "acc", "rule": "more"}, 'either "greater" or "less", but got \'more\''),
        ({"monitor": "speed"}, "Cannot infer the rule for key 'speed'"),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match=text):
        EarlyStoppingHook(**arguments)


def test_a_loop_that_cannot_be_stopped(make_runner):
    runner = make_runner()
    runner.train_loop = SimpleNamespace()
    with pytest.raises(AssertionError, match="`train_loop` should contain `stop_training`"):
        EarlyStoppingHook(monitor="acc").before_run(runner)
