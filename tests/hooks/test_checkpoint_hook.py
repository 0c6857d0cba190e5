from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint

from mm2pl.fileio import FileClient, LocalBackend
from mm2pl.hooks import CheckpointHook, Hook


def files(runner) -> set[str]:
    folder = Path(runner.work_dir)
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


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
        pytest.param(
            {"interval": 1, "max_keep_ckpts": 1, "filename_tmpl": "latest.pth"},
            {"epochs": 3},
            {"latest.pth"},
            id="one-name-keep-one",
        ),
        pytest.param(
            {"interval": 1, "max_keep_ckpts": 2, "filename_tmpl": "new.pth", "save_best": "acc"},
            {"epochs": 4, "scores": (0.1, 0.2, 0.3, 0.4)},
            {"new.pth", "best_acc_new.pth"},
            id="one-name-keep-two-and-the-best",
        ),
        pytest.param(
            {"interval": 1, "max_keep_ckpts": 1, "filename_tmpl": "sub/e{}.pth"},
            {"epochs": 3},
            {"sub/e3.pth"},
            id="in-a-folder-below",
        ),
    ],
)
def test_files(make_runner, arguments, run, expected):
    runner = make_runner(CheckpointHook(**arguments), **run)
    runner.train()
    names = files(runner) if Path(runner.work_dir).exists() else set()
    assert names - {"last_checkpoint"} == expected
    assert not expected or Path(Path(runner.work_dir, "last_checkpoint").read_text()).is_file()


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


def resumed_in(make_runner, first, folder, source, **hook):
    """Go on for one more epoch with the hub of ``first`` in another folder, from a file in ``source``."""
    runner = make_runner(CheckpointHook(interval=1, **hook), epochs=3, scores=(0.9,))
    runner.work_dir = str(folder)
    runner.resumed_from = os.path.join(source, "epoch_2.pth")
    runner.message_hub.load_state_dict(first.message_hub.state_dict())
    runner.epoch = 2
    runner.train()
    return runner


@pytest.mark.parametrize(
    ("copied", "expected"),
    [
        (False, {"epoch_3.pth", "best_acc_epoch_3.pth"}),
        (True, {"epoch_3.pth", "best_acc_epoch_3.pth", "notes.pth"}),
    ],
    ids=["into-an-empty-folder", "in-a-copy"],
)
def test_files_of_another_folder_are_not_deleted(make_runner, tmp_path, copied, expected):
    hook = {"max_keep_ckpts": 1, "save_best": "acc"}
    first = make_runner(CheckpointHook(interval=1, **hook), epochs=2, scores=(0.1, 0.2))
    first.train()
    Path(first.work_dir, "epoch_1.pth").touch()  # as after a kill before it was deleted
    Path(first.work_dir, "notes.pth").touch()
    first.message_hub.update_info("outdated_ckpts", [os.path.join(first.work_dir, "epoch_1.pth")])
    before = files(first)
    if copied:
        shutil.copytree(first.work_dir, tmp_path / "copy")
    source = tmp_path / "copy" if copied else first.work_dir
    second = resumed_in(make_runner, first, tmp_path / "copy", source, **hook)
    assert files(first) == before
    assert files(second) == {*expected, "last_checkpoint"}


@pytest.mark.parametrize(
    ("source", "best"),
    [("copy", "best_acc_epoch_2.pth"), ("work/exp", "best_acc_epoch_3.pth")],
    ids=["a-copy", "another-run"],
)
def test_the_history_of_best_files_goes_on_in_its_folder_only(make_runner, tmp_path, source, best):
    first = make_runner(CheckpointHook(interval=1, save_best="acc"), epochs=2, scores=(0.1, 0.99))
    first.train()
    shutil.copytree(first.work_dir, tmp_path / "copy")
    before = files(first)
    second = resumed_in(make_runner, first, tmp_path / "copy", tmp_path / source, save_best="acc")
    assert second.hooks[0].best_model_path == str(tmp_path / "copy" / best)
    assert files(first) == before
    assert "best_acc_epoch_2.pth" in files(second)


HOSTILE = {
    "best": lambda there: {"best_ckpt": str(there / "keep.pth")},
    "best-below": lambda there: {"best_ckpt": str(there / "best_acc_epoch_7.pth")},
    "best-upwards": lambda there: {"best_ckpt": "../best_acc_epoch_7.pth"},
    "best-is-a-folder": lambda there: {"best_ckpt": "best_acc_epoch_8.pth"},
    "best-is-the-folder-itself": lambda there: {"best_ckpt": f"{there}/.."},
    "outdated": lambda there: {"outdated_ckpts": [str(there / "keep.pth"), "../epoch_9.pth", ".."]},
    "outdated-is-a-folder": lambda there: {"outdated_ckpts": ["epoch_8.pth", str(there)]},
    "kept-is-a-folder": lambda there: {"keep_ckpt_ids": [8, 20, 21]},
    "no-names": lambda there: {"outdated_ckpts": [None, 5, b"x", "\0"], "best_ckpt": 5},
}


@pytest.mark.parametrize("facts", HOSTILE.values(), ids=HOSTILE)
def test_what_a_file_says_deletes_nothing_foreign(make_runner, tmp_path, facts):
    runner = make_runner(
        CheckpointHook(interval=1, max_keep_ckpts=2, save_best="acc"), epochs=1, scores=(0.5,)
    )
    folder = Path(runner.work_dir)
    there = folder / "sub"
    for path in ("sub/keep.pth", "sub/best_acc_epoch_7.pth", "epoch_8.pth/x", "notes.pth"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    for path in ("best_acc_epoch_8.pth/x", "../best_acc_epoch_7.pth", "../epoch_9.pth"):
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).touch()
    before = set(tmp_path.rglob("*"))
    runner.message_hub.update_info_dict(facts(there))
    runner.resumed_from = str(folder / "epoch_1.pth")
    runner.train()
    assert before <= set(tmp_path.rglob("*"))


def test_folders_of_a_sharded_run_are_deleted_by_who_wrote_them(make_runner):
    runner = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1), epochs=3)
    runner.save_checkpoint = lambda out_dir, name, **_: Path(out_dir, name, "part").mkdir(
        parents=True
    )
    runner.train()
    assert [path.name for path in Path(runner.work_dir).glob("*.pth")] == ["epoch_3.pth"]


def test_a_link_to_a_kept_file_keeps_it(make_runner):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1)
    runner = make_runner(hook)
    folder = Path(runner.work_dir)
    folder.mkdir(parents=True)
    (folder / "epoch_1.pth").touch()
    (folder / "epoch_2.pth").symlink_to("epoch_1.pth")
    runner.message_hub.update_info("keep_ckpt_ids", [1, 2])
    hook.before_train(runner)
    assert files(runner) == {"epoch_1.pth", "epoch_2.pth"}


def test_a_trial_touches_nothing(make_runner):
    real = make_runner(CheckpointHook(interval=1, max_keep_ckpts=1), epochs=2)
    real.train()
    folder = Path(real.work_dir)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    hook = CheckpointHook(interval=1, max_keep_ckpts=1, save_best="acc", published_keys=["meta"])
    trial = make_runner(hook, epochs=2, scores=(0.1, 0.2))
    trial.is_trial = True
    trial.message_hub.update_info("outdated_ckpts", [str(folder / "epoch_2.pth")])
    trial.train()
    assert trial.saved == []
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


class Background(Hook):
    """Let files appear an epoch after they were saved, as with Lightning's ``AsyncCheckpointIO``."""

    def before_train(self, runner):
        self.save, self.waiting = runner.save_checkpoint, []
        runner.save_checkpoint = lambda folder, name, **kw: self.waiting.append((folder, name))

    def before_train_epoch(self, runner):
        while self.waiting:
            self.save(*self.waiting.pop())


def test_what_is_not_there_yet_is_neither_named_nor_a_replacement(make_runner):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1)
    runner = make_runner(Background(), hook, epochs=3)
    runner.train()
    assert files(runner) == {"epoch_2.pth", "last_checkpoint"}
    assert Path(runner.work_dir, "last_checkpoint").read_text().endswith("epoch_2.pth")


def test_last_checkpoint_is_absolute_and_stays_in_its_folder(make_runner, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = make_runner(CheckpointHook(interval=1, out_dir="out"), epochs=1)
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    runner.work_dir = str(tmp_path / "link")
    runner.train()
    text = (tmp_path / "real" / "last_checkpoint").read_text()
    assert text == str(tmp_path / "out" / "link" / "epoch_1.pth")
    assert os.listdir(tmp_path / "real") == ["last_checkpoint"]


def test_two_hooks_of_one_run_keep_their_own_files(make_runner):
    def hooks():
        common = {"interval": 1, "max_keep_ckpts": 1, "rule": "greater"}
        return (
            CheckpointHook(save_best="acc", filename_tmpl="a{}.pth", **common),
            CheckpointHook(save_best="twice", filename_tmpl="b{}.pth", **common),
        )

    first = make_runner(*hooks(), epochs=1)
    first.train()
    for hook, score in zip(first.hooks, (1, 2), strict=True):
        hook.after_val_epoch(first, {"acc": score, "twice": score})
    second = make_runner(*hooks(), epochs=2)
    second.message_hub.load_state_dict(first.message_hub.state_dict())
    second.epoch = 1
    second.train()
    assert [hook.best_model_path.rpartition("/")[2] for hook in second.hooks] == [
        "best_acc_a1.pth",
        "best_twice_b1.pth",
    ]
    assert files(second) == {
        *("a2.pth", "b2.pth", "best_acc_a1.pth", "best_twice_b1.pth", "last_checkpoint")
    }
    for hook in second.hooks:
        hook.after_val_epoch(second, {"acc": 1.5, "twice": 1.5})
    assert "best_acc_a2.pth" in files(second)
    assert "best_twice_b1.pth" in files(second)


def test_a_hook_for_the_best_alone_writes_no_periodic_file(make_runner, monkeypatch):
    periodic = CheckpointHook(interval=1)
    best = CheckpointHook(interval=-1, save_last=False, save_best="acc", save_optimizer=False)
    runner = make_runner(periodic, best, epochs=1)
    runner.train()
    written = []
    monkeypatch.setattr(runner, "save_checkpoint", lambda folder, name, **_: written.append(name))
    best.after_val_epoch(runner, {"acc": 1.0})
    assert written == ["best_acc_epoch_1.pth"]


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
    ("arguments", "kind"),
    [
        ({"file_client_args": {"backend": "disk"}}, FileClient),
        ({"backend_args": None}, LocalBackend),
    ],
    ids=["client", "backend"],
)
def test_the_file_backend_is_the_one_that_was_asked_for(make_runner, arguments, kind):
    hook = CheckpointHook(interval=1, max_keep_ckpts=1, **arguments)
    runner = make_runner(hook, epochs=3)
    runner.train()
    assert hook.file_backend is hook.file_client
    assert type(hook.file_backend) is kind
    assert {name for name in files(runner) if name.endswith(".pth")} == {"epoch_3.pth"}


def test_a_missing_metric_is_named(make_runner):
    hook = CheckpointHook(save_best="acc")
    runner = make_runner(hook)
    hook.before_train(runner)
    with pytest.raises(KeyError, match=r"save_best='acc' is not among the metrics \['loss'\]"):
        hook.after_val_epoch(runner, {"loss": 1.0})
    with pytest.raises(TypeError, match=r"metric 'acc' is 'high' \(str\) →"):
        hook.after_val_epoch(runner, {"acc": "high"})


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


def test_the_marker_is_on_the_disk_before_it_gets_its_name(make_runner, monkeypatch):
    events = []
    replace = os.replace

    def noted(source, target):
        events.append(Path(target).name)
        replace(source, target)

    monkeypatch.setattr(os, "fsync", lambda descriptor: events.append("sync"))
    monkeypatch.setattr(os, "replace", noted)
    runner = make_runner(CheckpointHook(interval=1), epochs=1)
    runner.train()
    assert events[-3:] == ["sync", "last_checkpoint", "sync"]
    assert Path(runner.work_dir, "last_checkpoint").read_text().endswith("epoch_1.pth")
