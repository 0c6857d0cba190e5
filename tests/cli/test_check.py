"""``mm2pl check``: exit codes, JSON, options."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mm2pl.cli.main import main

CONFIG = """\
model = dict(type='mm2pl.model.base_model.base_model.BaseModel')
train_dataloader = dict(
    batch_size=8, dataset=dict(type='mm2pl.dataset.BaseDataset'), sampler=dict(type='DefaultSampler')
)
train_cfg = dict(by_epoch=True, max_epochs=3)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))
"""

CASES: dict[str, tuple[str, list[str], int, str]] = {
    "sound": (CONFIG, [], 0, "\nsound"),
    "fault": (
        f"{CONFIG}param_scheduler = dict(type='MultiStepLR', milestones=[8])",
        [],
        1,
        "WARNING: param_scheduler.milestones=[8] → the run has 3 epochs, so none is reached; below 3",
    ),
    "note": (f"{CONFIG}default_hooks = dict(checkpoint=None)", [], 0, "note: default_hooks"),
    "strict": (f"{CONFIG}default_hooks = dict(checkpoint=None)", ["--strict"], 1, "note:"),
    "option": (CONFIG, ["--cfg-options", "lr=3"], 1, "--cfg-options: lr=3 → nothing reads it"),
    "missing": (
        CONFIG.replace("train_cfg", "train_dfg"),
        [],
        1,
        "ERROR: train_cfg → the config has",
    ),
    "broken": ("model = dict(", [], 2, ""),
}


@pytest.mark.parametrize("name", CASES)
def test_exit_codes(name, tmp_path, capsys, monkeypatch):
    text, options, code, said = CASES[name]
    (tmp_path / "run.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert main(["check", "run.py", "--no-build", *options]) == code
    assert said in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["run.py"]


def test_no_such_config(capsys):
    assert main(["check", "nowhere.py"]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_json(tmp_path, capsys, monkeypatch):
    (tmp_path / "run.py").write_text(CASES["fault"][0])
    monkeypatch.chdir(tmp_path)
    assert main(["check", "run.py", "--no-build", "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["sound"] is False
    assert [fault["path"] for fault in report["faults"]] == ["param_scheduler.milestones"]
    assert report["run"][0] == {"what": "iterations", "value": "those of 3 epochs"}


def test_a_whole_project(tmp_path, capsys, monkeypatch):
    config = Path(__file__).parents[2] / "configs" / "digits_resnet.py"
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(config)]) == 0
    printed = capsys.readouterr()
    assert "285 of 64 samples: 15 epochs of 19" in printed.out
    assert "lr           iterations 1 to 38: 0.001 → 0.1" in printed.out
    assert printed.err == ""
    assert list(tmp_path.iterdir()) == []


WORDS = {
    "an overlay": (["--config", "over.yaml"], 1, "optim_wrapper.optimizer.lr=-3 → a number of at"),
    "a nested option": (["--model.widht", "3"], 1, "--model.widht: model.widht=3 → unknown to "),
    "the Trainer's": (
        ["--trainer.devices", "2"],
        0,
        "note: --trainer.devices 2: trainer.devices →",
    ),
    "the run's length": (["--trainer.max_epochs", "7"], 0, "those of 7 epochs"),
    "the length of a YAML": (["--config", "long.yaml"], 0, "7 written, 7 kept"),
    "no length": (
        ["--trainer.max_epochs", "1.5"],
        1,
        "--trainer.max_epochs 1.5: train_cfg.max_epochs=1.5 → a whole number (epochs) is needed",
    ),
    "another length": (
        ["--trainer.limit_train_batches", "3"],
        2,
        "--trainer.limit_train_batches 3 → mm2pl check counts what the config says → leave it out",
    ),
    "not shorter": (["--trainer.fast_dev_run", "false"], 0, "those of 3 epochs"),
    "no checkpoint": (["last"], 2, "'last' is one word too many"),
    "no class": (["--model", "my.Nope"], 1, "ERROR: model.class_path='my.Nope' → there is no such"),
    "a class": (
        ["--model", "mm2pl.lightning.MMLightningModule"],
        0,
        "note: model.class_path='mm2pl.lightning.MMLightningModule' → a trial has",
    ),
    "no file": (["--ckpt_path", "x.pth"], 1, "ERROR: ckpt_path='x.pth' → there is no such file"),
    "no last one": (["--ckpt_path", "last"], 1, "--ckpt_path last: there is no checkpoint in"),
    "no such argument": (
        ["--trainer.max_epoch", "3"],
        1,
        "ERROR: --trainer.max_epoch 3: trainer.max_epoch → the Trainer has no such argument. "
        "Did you mean 'trainer.max_epochs'?",
    ),
    "no such argument of a YAML": (
        ["--config", "typo.yaml"],
        1,
        "Did you mean 'trainer.accelerator'",
    ),
    "a habit": (["--gpus", "2"], 2, "unknown option '--gpus 2' → --trainer.devices 2"),
    "Lightning's help": (["--lightning-help"], 2, "mm2pl fit --lightning-help lists them"),
    "no run": (["--config", "over.yaml"], 2, "this is LightningCLI YAML without a run"),
}


@pytest.mark.parametrize("name", WORDS)
def test_the_words_of_fit_are_followed_or_refused(name, tmp_path, capsys, monkeypatch):
    words, code, said = WORDS[name]
    monkeypatch.chdir(tmp_path)
    Path("run.py").write_text(CONFIG)
    Path("over.yaml").write_text(
        "trainer: {}\nmodel: {init_args: {optim_wrapper: {optimizer: {lr: -3}}}}\n"
    )
    Path("typo.yaml").write_text("trainer: {acelerator: gpu}\n")
    Path("long.yaml").write_text("trainer: {max_epochs: 7}\n")
    config = [] if name == "no run" else ["run.py"]
    try:
        found = main(["check", *config, "--no-build", *words])
    except SystemExit as error:
        found = error.code
    printed = capsys.readouterr()
    assert found == code
    assert said in printed.out + printed.err
