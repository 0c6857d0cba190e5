from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint

from mm2pl.hooks import CheckpointHook


def files(runner) -> set[str]:
    return set(os.listdir(runner.work_dir))


@pytest.mark.parametrize(
    ("arguments", "run", "expected"),
    [
        pytest.param({}, {}, {"epoch_2.pth"}, id="never-but-last"),
        pytest.param({"save_last": False}, {}, set(), id="never"),
        pytest.param({"interval": 1}, {}, {"epoch_1.pth", "epoch_2.pth"}, id="epochs"),
        pytest.param(
            {"interval": 2, "by_epoch": False, "save_last": False},
            {},
            {"iter_2.pth", "iter_4.pth", "iter_6.pth"},
            id="iterations",
        ),
        pytest.param(
            {"interval": 2, "save_begin": 1},
            {"epochs": 4},
            {"epoch_1.pth", "epoch_3.pth", "epoch_4.pth"},
            id="begin",
        ),
        pytest.param(
            {"interval": 1, "max_keep_ckpts": 2},
            {"epochs": 4},
            {"epoch_3.pth", "epoch_4.pth"},
            id="keep-two",
        ),
        pytest.param(
            {"interval": 1, "filename_tmpl": "e{}.ckpt"}, {}, {"e1.ckpt", "e2.ckpt"}, id="name"
        ),
        pytest.param(
            {"interval": 1, "save_best": "acc"},
            {"epochs": 3, "scores": (0.1, 0.9, 0.5)},
            {"epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "best_acc_epoch_2.pth"},
            id="best",
        ),
        pytest.param(
            {"interval": 1, "save_best": "auto", "rule": "less"},
            {"epochs": 3, "scores": (0.1, 0.9, 0.5)},
            {"epoch_1.pth", "epoch_2.pth", "epoch_3.pth", "best_acc_epoch_1.pth"},
            id="auto-less",
        ),
        pytest.param(
            # MMEngine writes the periodic file again once one exists, whatever the interval.
            {"interval": 2, "save_best": "acc", "save_last": False},
            {"epochs": 3, "scores": (0.1, 0.2, 0.5)},
            {"epoch_2.pth", "epoch_3.pth", "best_acc_epoch_3.pth"},
            id="best-off-interval",
        ),
    ],
)
def test_files(make_runner, arguments, run, expected):
    runner = make_runner(CheckpointHook(**arguments), **run)
    runner.train()
    names = files(runner) if Path(runner.work_dir).exists() else set()
    assert names - {"last_checkpoint"} == expected


def test_last_checkpoint_names_the_newest(make_runner):
    runner = make_runner(CheckpointHook(interval=1))
    runner.train()
    text = Path(runner.work_dir, "last_checkpoint").read_text()
    assert text == os.path.join(runner.work_dir, "epoch_2.pth")


def test_what_is_saved(make_runner):
    hook = CheckpointHook(interval=1, save_best="acc", save_param_scheduler=False)
    runner = make_runner(hook, epochs=1, scores=(0.5,))
    runner.train()
    common = {"backend_args": None}
    periodic = {"save_optimizer": True, "save_param_scheduler": False, "by_epoch": True, **common}
    best = {"save_optimizer": False, "save_param_scheduler": False, "by_epoch": False, **common}
    assert runner.saved == [
        ("epoch_1.pth", {"meta": {"epoch": 1, "iter": 3}, **periodic}),
        ("best_acc_epoch_1.pth", {"meta": {"epoch": 1, "iter": 3}, **best}),
        ("epoch_1.pth", {"meta": {"epoch": 1, "iter": 3}, **periodic}),
    ]
    hub = runner.message_hub
    assert hub.get_info("best_score") == 0.5
    assert hub.get_info("best_ckpt").endswith("best_acc_epoch_1.pth")


def test_several_metrics(make_runner):
    hook = CheckpointHook(interval=1, save_best=["acc", "val/loss"], rule=["greater", "less"])
    runner = make_runner(hook, epochs=1)
    hook.before_train(runner)
    for epoch, metrics in enumerate(
        ({"acc": 0.5, "val/loss": 1.0}, {"acc": 0.4, "val/loss": 0.9}), 1
    ):
        runner.epoch = epoch
        hook.after_val_epoch(runner, metrics)
    assert files(runner) == {"best_acc_epoch_1.pth", "best_val_loss_epoch_2.pth"}
    assert hook.best_model_path.endswith("best_acc_epoch_1.pth")
    assert runner.message_hub.get_info("best_score_val/loss") == 0.9


def test_out_dir(make_runner, tmp_path):
    hook = CheckpointHook(interval=1, out_dir=str(tmp_path / "elsewhere"))
    runner = make_runner(hook)
    Path(runner.work_dir).mkdir(parents=True)
    runner.train()
    assert sorted(os.listdir(tmp_path / "elsewhere" / "exp")) == ["epoch_1.pth", "epoch_2.pth"]
    runner.train()
    assert hook.dirpath == str(tmp_path / "elsewhere" / "exp")


def test_the_replaced_file_is_there_until_the_new_one_is(make_runner):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1, save_best="acc")
    runner = make_runner(hook, epochs=2, scores=(0.1, 0.2))
    save, seen = runner.save_checkpoint, []

    def record(out_dir, filename, **kwargs):
        seen.append((filename, sorted(os.listdir(out_dir)) if os.path.isdir(out_dir) else []))
        save(out_dir, filename, **kwargs)

    runner.save_checkpoint = record
    runner.train()
    before = dict(seen)
    assert "epoch_1.pth" in dict(reversed(seen))["epoch_2.pth"]
    assert "best_acc_epoch_1.pth" in before["best_acc_epoch_2.pth"]
    assert files(runner) == {"epoch_2.pth", "best_acc_epoch_2.pth", "last_checkpoint"}


def test_resuming_removes_what_a_kill_left_and_what_is_too_many(make_runner):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1)
    runner = make_runner(hook)
    Path(runner.work_dir).mkdir(parents=True)
    for name in ("epoch_1.pth", "epoch_2.pth", "epoch_3.pth"):
        Path(runner.work_dir, name).write_text("")
    runner.message_hub.update_info("keep_ckpt_ids", [2, 3])
    runner.message_hub.update_info("outdated_ckpts", [os.path.join(runner.work_dir, "epoch_1.pth")])
    hook.before_train(runner)
    assert files(runner) == {"epoch_3.pth"}


def test_resuming_goes_on_from_the_best(make_runner):
    first = make_runner(CheckpointHook(interval=1, save_best="acc"), epochs=1, scores=(0.9,))
    first.train()
    hook = CheckpointHook(interval=1, save_best="acc")
    second = make_runner(hook, epochs=2, scores=(0.5,))
    second.message_hub.load_state_dict(first.message_hub.state_dict())
    second.epoch = 1
    second.train()
    assert hook.best_model_path.endswith("best_acc_epoch_1.pth")
    assert "best_acc_epoch_2.pth" not in files(second)


def test_it_is_lightnings_checkpoint_callback(make_runner):
    hook = CheckpointHook(interval=1, save_best="acc")
    assert isinstance(hook, Checkpoint)
    assert (hook.best_model_path, hook.last_model_path, hook.dirpath) == ("", "", None)
    runner = make_runner(hook, scores=(0.1, 0.2))
    runner.train()
    assert hook.best_model_path == os.path.join(runner.work_dir, "best_acc_epoch_2.pth")
    assert hook.last_model_path == os.path.join(runner.work_dir, "epoch_2.pth")
    assert (hook.best_model_score, hook.monitor) == (0.2, "acc")
    hook.best_model_path = "handed/back.pth"
    assert hook.best_model_path == "handed/back.pth"


def test_empty_metrics_are_reported(make_runner):
    hook = CheckpointHook(save_best="acc")
    runner = make_runner(hook)
    hook.after_val_epoch(runner, {})
    assert "`metrics` is an empty dict" in runner.logger[0]


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"interal": 1}, TypeError, "'interal'; it accepts .*Did you mean 'interval'"),
        ({"zzz": 1}, TypeError, "no argument 'zzz'; it accepts"),
        ({"save_begin": -1}, ValueError, "less than 0, but got -1"),
        ({"save_best": 1}, TypeError, '"save_best" should be'),
        ({"save_best": ["acc", "acc"]}, ValueError, "duplicate"),
        ({"save_best": ["auto", "acc"]}, ValueError, 'Only support one "auto"'),
        ({"save_best": ["acc", "b"], "rule": ["less"] * 3}, ValueError, "same as number"),
        ({"save_best": "acc", "rule": "more"}, KeyError, "greater, less or None"),
        ({"save_best": "acc", "rule": 1}, TypeError, '"rule" should be'),
        ({"save_best": "speed"}, ValueError, "Cannot infer the rule for key 'speed'"),
        ({"save_best": "acc", "greater_keys": [1]}, TypeError, '"greater_keys" should hold'),
        ({"published_keys": ["meta", "meta"]}, ValueError, "duplicate"),
        (
            {"backend_args": {}, "file_client_args": {}},
            ValueError,
            "cannot be set at the same time",
        ),
    ],
)
def test_wrong_arguments(arguments, error, text):
    with pytest.raises(error, match=text):
        CheckpointHook(**arguments)


@pytest.mark.parametrize(
    ("save_best", "expected"),
    [
        (None, {}),
        ("acc", {"best_ckpt_path": None}),
        (["acc", "loss"], {"best_ckpt_path_dict": {"acc": None, "loss": None}}),
    ],
    ids=["none", "one", "two"],
)
def test_paths_of_the_best_under_mmengines_names(save_best, expected):
    hook = CheckpointHook(save_best=save_best)
    names = ("best_ckpt_path", "best_ckpt_path_dict")
    assert {name: getattr(hook, name) for name in names if hasattr(hook, name)} == expected


@pytest.mark.parametrize(
    ("arguments", "same"),
    [({"file_client_args": {"backend": "disk"}}, True), ({"backend_args": None}, False)],
    ids=["client", "backend"],
)
def test_the_file_backend_is_the_file_client_that_was_asked_for(make_runner, arguments, same):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1, **arguments)
    runner = make_runner(hook, epochs=3)
    runner.train()
    assert (hook.file_backend is hook.file_client) is same
    assert {name for name in files(runner) if name.endswith(".pth")} == {"epoch_3.pth"}


def test_a_missing_metric_is_named(make_runner):
    hook = CheckpointHook(save_best="acc")
    runner = make_runner(hook)
    hook.before_train(runner)
    with pytest.raises(KeyError, match=r"save_best='acc' is not among the metrics \['loss'\]"):
        hook.after_val_epoch(runner, {"loss": 1.0})


def test_without_training_nothing_is_saved(make_runner):
    hook = CheckpointHook(save_best="acc")
    runner = make_runner(hook)
    runner.evaluate("val", {"acc": 1.0})
    assert runner.saved == []


def test_publishing_keeps_only_some_keys(make_runner):
    hook = CheckpointHook(interval=1, save_best="acc", published_keys=["state_dict"])
    runner = make_runner(hook, epochs=1, scores=(0.5,))

    def save(out_dir, filename, **kwargs):
        Path(out_dir).mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": {"w": torch.ones(1)}, "meta": {}}, Path(out_dir, filename))

    runner.save_checkpoint = save
    runner.train()
    published = sorted(Path(runner.work_dir).glob("*-????????.pth"))
    assert [path.name.split("-")[0] for path in published] == ["best_acc_epoch_1", "epoch_1"]
    for path in published:
        assert set(torch.load(path, weights_only=True)) == {"state_dict"}
