"""Real runs from the command line, on the digits."""

from __future__ import annotations

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import examples.digits
import mm2pl.lightning  # noqa: F401 - Lightning's log handler must not hold a test's captured stream
from mm2pl.cli.changes import apply
from mm2pl.cli.main import main
from mm2pl.cli.options import Word, parse
from mm2pl.config import Config

CONFIG = "configs/digits_resnet.py"
ROOT = Path(examples.digits.__file__).parents[2]
SHORT = [
    "--trainer.limit_train_batches",
    "3",
    "--cfg-options",
    "train_cfg.max_epochs=1",
    "train_dataloader.batch_size=16",
]

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a work folder with one short epoch in it, made by the command itself in its own process."""
    work_dir = tmp_path_factory.mktemp("trained")
    command = [sys.executable, "-m", "mm2pl", "fit", CONFIG, "--work-dir", str(work_dir), *SHORT]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=300)
    return work_dir


def test_a_config_may_hold_objects(tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        f"_base_ = {str(ROOT / CONFIG)!r}\n"
        "import importlib\n"
        "val_evaluator = importlib.import_module('mm2pl.evaluator').Evaluator([])\n"
        "del importlib\n"
    )
    assert main(["fit", str(config), "--work-dir", str(tmp_path / "work"), *SHORT]) == 0
    assert (tmp_path / "work" / "epoch_1.pth").exists()
    assert main(["fit", str(config), "--print_config"]) == 2
    assert "val_evaluator is a live Evaluator object" in capsys.readouterr().err


def test_several_sets_are_validated(trained, tmp_path, capsys):
    config = tmp_path / "config.py"
    config.write_text(
        f"_base_ = {str(ROOT / CONFIG)!r}\n"
        "val_dataloader = [_base_.val_dataloader, _base_.val_dataloader]\n"
        "val_evaluator = [_base_.val_evaluator, [_base_.val_evaluator]]\n"
    )
    of_one = str(trained / "epoch_1.pth")
    assert main(["validate", str(config), "--ckpt_path", of_one, "--work-dir", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "0/accuracy: " in said
    assert "1/accuracy: " in said


def test_fit_leaves_mmengines_files(trained):
    names = {path.name for path in trained.iterdir()}
    assert {
        "epoch_1.pth",
        "last_checkpoint",
        "digits_resnet.py",
        "best_accuracy_epoch_1.pth",
    } <= names


@pytest.mark.parametrize("command", ["validate", "test"])
@pytest.mark.parametrize("which", ["best", "last", "epoch_1.pth"])
def test_evaluation_of_a_checkpoint(command, which, trained, capsys):
    path = str(trained / which) if which.endswith(".pth") else which
    assert main([command, CONFIG, "--work-dir", str(trained), "--ckpt_path", path]) == 0
    assert "accuracy: " in capsys.readouterr().out


def test_positional_checkpoint_and_results_file(trained, tmp_path):
    out = tmp_path / "results.pkl"
    arguments = [
        "test",
        CONFIG,
        str(trained / "epoch_1.pth"),
        "--work-dir",
        str(tmp_path),
        "--out",
        str(out),
    ]
    assert main(arguments) == 0
    assert len(pickle.loads(out.read_bytes())) == 300


def test_predictions_in_the_order_of_the_data_set(trained, tmp_path):
    out = tmp_path / "predictions.pkl"
    assert (
        main(
            [
                "predict",
                CONFIG,
                "--work-dir",
                str(trained),
                "--ckpt_path",
                "last",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    labels = [sample["label"] for sample in pickle.loads(out.read_bytes())]
    assert labels == examples.digits.DigitsDataset("test").labels.tolist()


def test_yaml_form_trains_to_the_same_weights(trained, tmp_path):
    arguments = ["fit", "--config", "configs/digits_resnet.yaml", "--work-dir", str(tmp_path)]
    overrides = ["--trainer.limit_train_batches=3", "--trainer.max_epochs=1"]
    assert main([*arguments, *overrides]) == 0
    ours = torch.load(tmp_path / "epoch_1.pth", weights_only=True)
    config = ["fit", CONFIG, "--work-dir", str(tmp_path / "py"), *overrides]
    assert main(config) == 0
    theirs = torch.load(tmp_path / "py" / "epoch_1.pth", weights_only=True)
    for name, value in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], value), name
    assert ours["meta"]["experiment_name"].startswith("digits_resnet_")
    mine, other = (Config.fromstring(c["meta"]["cfg"], ".py") for c in (ours, theirs))
    other = {k: v for k, v in other.items() if v is not None}
    assert {k: mine[k] for k in other} == {**other, "work_dir": str(tmp_path)}


def test_resume_continues_the_work_folder(tmp_path):
    arguments = ["fit", CONFIG, "--work-dir", str(tmp_path), "--trainer.limit_train_batches=2"]
    assert main([*arguments, "--trainer.max_epochs=1"]) == 0
    assert main([*arguments, "--trainer.max_epochs=2", "--resume"]) == 0
    assert torch.load(tmp_path / "epoch_2.pth", weights_only=True)["meta"]["iter"] == 4


PARTS = {
    "schedules of the file": (["--resume-param-scheduler=file"], {"resume_param_scheduler": True}),
    "of the config": (["--resume-param-scheduler", "config"], {"resume_param_scheduler": False}),
    "planned anew": (["--resume-param-scheduler=replan"], {"resume_param_scheduler": "replan"}),
    "optimizer": (["--resume-optimizer", "false"], {"resume_optimizer": False}),
}


@pytest.mark.parametrize(("arguments", "expected"), PARTS.values(), ids=PARTS)
def test_parts_of_a_resume_are_chosen_by_options(arguments, expected):
    options = parse("fit", [CONFIG, "--resume", *arguments])
    assert apply(options, Config()).resume == expected
    assert options.words == [Word("config", CONFIG)]


def test_a_choice_without_a_resume_is_refused():
    options = parse("fit", [CONFIG, "--resume-optimizer=false"])
    with pytest.raises(
        ValueError, match="resume_optimizer without a run to continue → add --resume"
    ):
        apply(options, Config())


@pytest.mark.parametrize(
    ("option", "damage", "code", "said"),
    [
        ("--resume", None, 0, "no checkpoint in {0}: starts from the beginning"),
        (
            "--resume=must",
            None,
            2,
            "resume='must': there is no checkpoint in {0} → check --work-dir",
        ),
        ("--resume=must", "marker", 0, "{0}/epoch_1.pth is the newest intact checkpoint"),
        ("--resume", "file", 2, "epoch_1.pth is truncated"),
    ],
    ids=["starts", "must-not", "without-its-marker", "damaged"],
)
def test_resuming_from_little(trained, tmp_path, option, damage, code, said, capsys):
    folder = tmp_path / "work"
    if damage:
        folder.mkdir()
        shutil.copy(trained / "epoch_1.pth", folder)
        if damage == "file":
            os.truncate(folder / "epoch_1.pth", 1000)
    assert main(["fit", CONFIG, "--work-dir", str(folder), option, *SHORT]) == code
    printed = capsys.readouterr()
    assert said.format(folder) in printed.out + printed.err
    assert "checkpoint None" not in printed.out + printed.err


def test_a_trial_does_not_touch_the_run_in_its_folder(trained, tmp_path, capsys):
    folder = shutil.copytree(trained, tmp_path / "work")
    names = [*folder.glob("*.pth"), folder / "last_checkpoint"]
    before = {path: path.stat().st_mtime_ns for path in names}
    arguments = ["fit", CONFIG, "--work-dir", str(folder), *SHORT]
    assert main([*arguments, "--trainer.fast_dev_run", "true"]) == 0
    assert {path: path.stat().st_mtime_ns for path in names} == before
    assert sorted(folder.glob("*.pth")) == sorted(names[:-1])
    assert main([*arguments, "--resume"]) == 0
    assert (
        f"Auto resumed from the latest checkpoint {folder}/epoch_1.pth" in capsys.readouterr().out
    )


def test_fast_dev_run_is_one_batch_and_leaves_no_checkpoint(tmp_path):
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), "--trainer.fast_dev_run", "true"]) == 0
    log = next(tmp_path.glob("*/*.log")).read_text()
    assert "Epoch(val) [1][1/1]" in log
    assert not list(tmp_path.glob("*.pth"))


def test_print_config_is_lightnings_form(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["fit", CONFIG, "--work-dir", str(tmp_path), "--print_config"])
    text = capsys.readouterr().out
    assert "class_path: mm2pl.lightning.RunCallback" in text
    assert "max_epochs: 15" in text


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (["c.py", "--trainer.max_epochs", "3"], [("flag", "--trainer.max_epochs=3")]),
        (["--trainer.max_epochs", "3", "c.py"], [("flag", "--trainer.max_epochs=3")]),
        (["--config", "c.py", "--trainer.callbacks+=X"], [("flag", "--trainer.callbacks+=X")]),
        (
            ["c.py", "--detect-nan"],
            [("flag", "--trainer.callbacks+=mm2pl.lightning.StopBeforeNaN")],
        ),
        (
            ["--cfg-options", "a=1", "--trainer.x=2", "--config", "c.py", "--cfg-options", "a=3"],
            [("cfg_options", {"a": 1}), ("flag", "--trainer.x=2"), ("cfg_options", {"a": 3})],
        ),
    ],
    ids=["before", "after", "equals", "detect-nan", "in their order"],
)
def test_words_are_kept_in_their_order(arguments, rest):
    words = parse("fit", arguments).words
    assert [word for word in words if word.kind != "config"] == rest
    assert [word.value for word in words if word.kind == "config"] == ["c.py"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["c.py", "e.pth", "--work-dir", "w"],
        ["c.py", "--work-dir", "w", "e.pth"],
        ["--work-dir", "w", "c.py", "e.pth"],
        ["c.py", "--work-dir", "w", "--ckpt_path", "e.pth"],
        ["e.pth", "--config", "c.py", "--work-dir", "w"],
        ["c.py", "--trainer.devices", "1", "e.pth", "--work-dir=w"],
        ["--trainer.devices=1", "c.py", "--local_rank=0", "--work-dir=w", "e.pth"],
    ],
    ids=" ".join,
)
def test_a_checkpoint_may_stand_anywhere(arguments):
    options = parse("test", arguments)
    configs = [word.value for word in options.words if word.kind == "config"]
    assert (configs, options.ckpt_path, options.work_dir) == (["c.py"], "e.pth", "w")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resum"], "unknown option '--resum' → did you mean '--resume'?"),
        (["--zzz"], "unknown option '--zzz' → see mm2pl fit --help"),
        (["b.py"], "'b.py' is one word too many → more configs are given with --config"),
        (["a.b=1"], "'a.b=1' → to change the config, write --cfg-options a.b=1"),
        (["--cfg-options", "a=1", "e.pth"], "'e.pth' must be KEY=VALUE → other words go before"),
        (["--launcher", "foo"], "invalid choice: 'foo'"),
    ],
    ids=["misspelt", "unknown", "second config", "a bare change", "word after", "launcher"],
)
def test_a_mistyped_command_line_is_two_lines(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        parse("fit", ["c.py", *arguments])
    usage, error = capsys.readouterr().err.splitlines()
    assert usage == "usage: mm2pl fit CONFIG [options]"
    assert message in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--trainer.max_epochz", "3"], "unrecognized arguments: --trainer.max_epochz=3"),
        (["--trainer.max_epochs"], "--trainer.max_epochs: expected one argument"),
        (["--trainer.accelerator", "abacus"], "the Trainer refuses its options: You selected an"),
        (["--trainer.max_epochs", "abc"], "--trainer.max_epochs abc → int, None is accepted"),
        (["--trainer.precision", "fp8"], "--trainer.precision fp8 → 64, 32, 16, 'transformer-"),
        (
            ["--trainer.callbacks+=EarlyStopping"],
            "--trainer.callbacks+=EarlyStopping → EarlyStopping needs monitor: --trainer.callbacks.monitor=…",
        ),
        (
            ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitr=acc"],
            "EarlyStopping has no 'monitr', but monitor, min_delta",
        ),
        (
            ["--trainer.callbacks+=EarlyStoping"],
            "Did you mean 'EarlyStopping' or 'EarlyStoppingHook'?",
        ),
        (["--launcher", "slurm"], "'slurm' needs the environment variable SLURM_PROCID: start"),
    ],
    ids=[
        "name",
        "no value",
        "value",
        "type",
        "choice",
        "argument missing",
        "argument misspelt",
        "class misspelt",
        "launcher",
    ],
)
def test_mistyped_trainer_options_print_no_usage(arguments, message, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert "--trainer.plugins" not in error
    assert "Subtypes" not in error


def test_a_folder_is_no_config(capsys):
    assert main(["fit", "configs"]) == 2
    assert "'configs' is a folder → name a config file in it" in capsys.readouterr().err


def test_predictions_kept_nowhere_are_announced(tmp_path, capsys):
    arguments = ["predict", CONFIG, "--work-dir", str(tmp_path)]
    assert main([*arguments, "--trainer.limit_predict_batches=1"]) == 0
    assert "without --out FILE.pkl no prediction is written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.type=DigitsResnet"], "DigitsResNet"),
        (["train_cfg.max_epoch=3"], "max_epoch"),
        (["optim_wrapper.optimizer.type=SDG"], "SGD"),
        (["val_evaluator=None"], "val_evaluator"),
        (["default_hooks.checkpoint.intervall=2"], "interval"),
    ],
    ids=["model", "train_cfg", "optimizer", "half a stage", "hook argument"],
)
def test_mistakes_are_answered_in_one_message(options, message, tmp_path, capsys):
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), "--cfg-options", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_checkpoint_of_another_model(trained, tmp_path, capsys):
    arguments = ["test", CONFIG, str(trained / "epoch_1.pth"), "--work-dir", str(tmp_path)]
    assert main([*arguments, "--cfg-options", "model.width=8"]) == 2
    error = capsys.readouterr().err
    assert "stem.0.weight is (16, 1, 3, 3) in the file and (8, 1, 3, 3) in the model" in error
    assert "Traceback" not in error


def test_best_without_a_best_checkpoint(tmp_path, capsys):
    assert main(["test", CONFIG, "--work-dir", str(tmp_path), "--ckpt_path", "best"]) == 2
    assert "save_best='auto'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--trainer.devics=2", "did you mean --trainer.devices?"),
        ("--trainer.max_epoch=2", "did you mean --trainer.max_epochs?"),
        ("--trainer.callbacks={class_path: nope.X}", "there is no class nope.X"),
        ("--trainer.callbacks+=BatchSizeFinder", "set train_dataloader.batch_size"),
    ],
)
def test_a_trainers_misspelt_or_useless_option(option, said, tmp_path, capsys):
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), option]) == 2
    assert said in capsys.readouterr().err


def test_what_lightning_says_to_its_user_needs_no_traceback(tmp_path, capsys):
    monitor = ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=acc"]
    assert main(["fit", CONFIG, "--work-dir", str(tmp_path), *monitor, *SHORT]) == 2
    assert "StateError: Early stopping conditioned on metric `acc`" in capsys.readouterr().err


def test_a_checkpoint_of_the_work_folder_by_its_bare_name(trained, capsys):
    assert main(["test", CONFIG, "epoch_1.pth", "--work-dir", str(trained)]) == 2
    said = capsys.readouterr().err
    assert "epoch_1.pth can not be found → did you mean " in said
    assert f"{trained.name}/epoch_1.pth?" in said


def test_a_checkpoint_that_is_not_there(trained, capsys):
    latest = str(trained / "latest.pth")  # MMCV 1.x's link
    assert main(["test", CONFIG, latest, "--work-dir", str(trained)]) == 2
    said = capsys.readouterr().err
    assert f"{latest} can not be found → last, best, or one that is there: " in said
    assert "epoch_1.pth" in said


def test_predictions_go_into_a_pickle_file(trained, capsys):
    assert main(["predict", CONFIG, "last", "--work-dir", str(trained), "--out", "p.txt"]) == 2
    assert "--out 'p.txt' → a file name ending in .pkl or .pickle" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "count"), [([], 1), (["last"], 0)], ids=["untrained", "trained"]
)
def test_untrained_weights_are_evaluated_with_a_warning(trained, arguments, count, capsys):
    assert main(["test", CONFIG, *arguments, "--work-dir", str(trained)]) == 0
    said = capsys.readouterr().out
    assert said.count("this run has neither trained nor loaded weights → ") == count


def test_a_callback_whose_package_is_missing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.callbacks.device_stats_monitor._PSUTIL_AVAILABLE", False)
    option = "--trainer.callbacks+=DeviceStatsMonitor"
    assert (
        main(["fit", CONFIG, "--work-dir", str(tmp_path), option, "--trainer.accelerator=cpu"]) == 2
    )
    error = capsys.readouterr().err
    assert "`psutil` is not installed" in error
    assert "→ install it, or leave out what needs it" in error
    assert "Traceback" not in error
