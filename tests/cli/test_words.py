"""Every word of a command line and of a YAML is followed, replaced or refused, in the order given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from mm2pl.cli.command_line import CommandLine, read
from mm2pl.cli.main import main

BASE = """
lr = 0.1
model = dict(type='Net', width=2)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=lr))
train_dataloader = dict(batch_size=4, dataset=dict(type='D'))
train_cfg = dict(by_epoch=True, max_epochs=5)
"""
RUN = "mm2pl.lightning.RunCallback"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that reads ``mm2pl fit base.py …``; a dict among the words is a YAML file."""
    monkeypatch.chdir(tmp_path)
    Path("base.py").write_text(BASE)

    def read_words(*words: Any, base: str = "base.py") -> CommandLine:
        arguments = [base]
        for number, word in enumerate(words):
            if isinstance(word, dict):
                Path(f"{number}.yaml").write_text(yaml.safe_dump(word))
                word = f"--config={number}.yaml"
            arguments.append(word)
        return read("fit", arguments)

    return read_words


def value(said: CommandLine, key: str) -> Any:
    found: Any = said.cfg
    for part in key.split("."):
        found = found[int(part) if part.isdigit() else part]
    return found


def trainer(said: CommandLine) -> list[str]:
    """Return what is left to the Trainer's parser."""
    return said.arguments[1:]


LR = "optim_wrapper.optimizer.lr"
FOLLOWED: dict[str, tuple[list[Any], str, Any]] = {
    "model": ([{"model": {"init_args": {"optim_wrapper": {"optimizer": {"lr": 3}}}}}], LR, 3),
    "model, bare": ([{"model": {"type": "Other"}, "trainer": {}}], "model.type", "Other"),
    "data": (
        [{"data": {"init_args": {"train_dataloader": {"batch_size": 8}}}}],
        "train_dataloader.batch_size",
        8,
    ),
    "a key of a config": ([{"trainer": {}, "work_dir": "w"}], "work_dir", "w"),
    "seed": ([{"seed_everything": 7}], "randomness.seed", 7),
    "seed by flag": (["--seed_everything", "7"], "randomness.seed", 7),
    "no seed": ([{"seed_everything": 7}, "--seed_everything=true"], "randomness.seed", None),
    "root": (["--trainer.default_root_dir", "X"], "work_dir", "X"),
    "root of a YAML": ([{"trainer": {"default_root_dir": "X"}}], "work_dir", "X"),
    "checkpointing": (
        ["--trainer.enable_checkpointing", "false"],
        "default_hooks.checkpoint",
        None,
    ),
    "nested": (["--model.optim_wrapper.optimizer.lr", "1e-3"], LR, 0.001),
    "nested, of the model": (["--model.init_args.width=3"], "model.width", 3),
    "an empty value": (["--model.width="], "model.width", None),
    "nested, of the data": (
        ["--data.train_dataloader.batch_size", "2"],
        "train_dataloader.batch_size",
        2,
    ),
    "first a YAML, then an option": (
        [{"model": {"init_args": {"model": {"width": 7}}}}, "--cfg-options=model.width=8"],
        "model.width",
        8,
    ),
    "first an option, then a YAML": (
        ["--cfg-options=model.width=8", {"model": {"init_args": {"model": {"width": 7}}}}],
        "model.width",
        7,
    ),
}


@pytest.mark.parametrize(("words", "key", "expected"), FOLLOWED.values(), ids=FOLLOWED)
def test_a_word_is_followed(words: list[Any], key: str, expected: Any, said: Any) -> None:
    assert value(said(*words), key) == expected


def test_two_configs_are_merged(said: Any) -> None:
    Path("b.py").write_text("model = dict(width=9)\nextra = 1\n")
    found = said("--config", "b.py", "--trainer.devices=1")
    assert (value(found, "model"), value(found, "extra")) == ({"type": "Net", "width": 9}, 1)
    assert trainer(found) == ["--trainer.devices=1"]


def test_a_config_of_a_package(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("shapes/.mim/configs")
    folder.mkdir(parents=True)
    Path("shapes/__init__.py").touch()
    (folder / "circle.py").write_text(BASE)
    monkeypatch.syspath_prepend(".")
    assert value(said(base="shapes::circle.py"), "model.type") == "Net"
    with pytest.raises(
        FileNotFoundError, match=r"Did you mean '.*shapes/\.mim/configs/circle\.py'"
    ):
        said(base="shapes::cirle.py")
    (folder / "round").mkdir()
    (folder / "round" / "ball_1x.py").write_text(BASE)
    for name in ("ball_1x", "ball_1x.py", "other/ball_1x.py"):
        with pytest.raises(FileNotFoundError, match=r"Did you mean 'shapes::round/ball_1x\.py'\?"):
            said(base=f"shapes::{name}")


CALLBACK = {"class_path": "lightning.pytorch.callbacks.DeviceStatsMonitor"}
LISTS: dict[str, Any] = {
    "of a YAML": {"trainer": {"callbacks": [CALLBACK]}},
    "of a YAML with a run": {"trainer": {"callbacks": [{"class_path": RUN}, CALLBACK]}},
    "alone": {"trainer": {"callbacks": CALLBACK}},
}


@pytest.mark.parametrize("word", LISTS.values(), ids=LISTS)
def test_callbacks_are_added_and_the_run_stays(word: Any, said: Any) -> None:
    found = said(word)
    assert trainer(found) == [f"--config={json.dumps({'trainer': {'callbacks': [CALLBACK]}})}"]
    assert found.plan.as_cli()["trainer"]["callbacks"][0]["class_path"] == RUN


REFUSED: dict[str, tuple[list[Any], str]] = {
    "epochs of a run by iterations": (
        [
            "--trainer.max_epochs",
            "3",
            {"train_cfg": {"by_epoch": False, "max_iters": 8, "_delete_": True}},
        ],
        r"--trainer\.max_epochs 3 on a run by iterations .* → --cfg-options train_cfg\.max_iters=…",
    ),
    "barebones": (["--trainer.barebones", "true"], r"--trainer\.barebones true switches off what"),
    "no boolean": (["--trainer.enable_checkpointing", "x"], "x → true or false is needed"),
    "no seed": (["--seed_everything", "x"], "--seed_everything x → a whole number"),
    "another seed of the data": (
        [{"data": {"init_args": {"seed": 3}}}],
        r"data\.init_args\.seed: 3 in 0\.yaml → .* --cfg-options randomness\.seed=3",
    ),
    "a Trainer that is none": ([{"trainer": 3}], r"trainer: 3 in 0\.yaml → a dict of Trainer"),
    "arguments that are none": (
        [{"model": {"init_args": 3}}],
        r"model\.init_args: 3 in 0\.yaml → a ",
    ),
    "no value": (["--model"], "--model without a value → --model VALUE"),
    "no value of a key": (["--model.width"], r"--model\.width without a value"),
    "no class": (["--model="], "--model without a value"),
    "two roots": (["--work-dir=a", "--trainer.default_root_dir=b"], "they mean the same: give one"),
    "optimizer": (
        ["--optimizer.lr", "3"],
        r"--optimizer\.lr on an MMEngine config → use --cfg-options optim_wrapper\.optimizer\.lr=3",
    ),
}


@pytest.mark.parametrize(("words", "message"), REFUSED.values(), ids=REFUSED)
def test_a_word_that_cannot_be_followed_is_refused(words: Any, message: str, said: Any) -> None:
    with pytest.raises(ValueError, match=message):
        said(*words)


UNREAD = {
    "a variable": ("lr=0.5", "lr = 0.5: a variable of the config, which has been read already", LR),
    "a part of a name": (
        "batch_size=4",
        "batch_size = 4: nothing reads it",
        "train_dataloader.batch_size",
    ),
    "a part of a path": ("optimizer.lr=3", "optimizer.lr = 3: nothing reads it", LR),
    "misspelt inside": (
        "optim_wrapper.optimzer.lr=3",
        "optim_wrapper.optimzer.lr = 3: the config has no such key",
        "optim_wrapper.optimizer",
    ),
    "unknown": ("foo=1", "foo = 1: nothing reads it, unless a hook asks runner.cfg (--cfg-", ""),
}


@pytest.mark.parametrize(("pair", "message", "meant"), UNREAD.values(), ids=UNREAD)
def test_a_change_that_nothing_reads(
    pair: str, message: str, meant: str, said: Any, capsys: Any
) -> None:
    said("--cfg-options", pair)
    warned = capsys.readouterr().err
    assert message in warned
    assert (f"Did you mean '{meant}'?" in warned) is bool(meant)
    with pytest.raises(ValueError, match=f"--cfg-options: {pair} → "):
        said("--strict", "--cfg-options", pair)


def test_a_change_that_is_read_is_not_doubted(said: Any, capsys: Any) -> None:
    said("--strict", "--cfg-options", "model.depth=3", "work_dir=w", "model.backbone.stage4=1")
    assert capsys.readouterr().err == ""


def test_a_misspelt_section_of_an_overlay(said: Any, capsys: Any) -> None:
    said({"trainr": {"max_epochs": 3}})
    assert "trainr = {'max_epochs': 3}: nothing reads it" in (warned := capsys.readouterr().err)
    assert "Did you mean 'trainer'?" in warned


def test_a_misspelt_option_with_dots(said: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        said("--modle.width", "3")
    assert "'--modle.width' → did you mean '--model.width'?" in capsys.readouterr().err


DICTS = (
    '{"b": 1}',
    "{b:1,c:2}",
    "{}",
    "[{b: 1},{c: 2}]",
    "[dict(b=1)]",
    "'{b: {c: 1}}'",
    "({b: 1},2)",
)


@pytest.mark.parametrize("text", DICTS)
def test_a_dict_is_no_value(text: str, said: Any, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        said("--cfg-options", f"model.head={text}")
    assert "is a dict → give each of its keys: model.head.KEY=VALUE" in capsys.readouterr().err


PATTERNS = ("{:03d}.pth", "{epoch:03d}_{iter:05d}", "{epoch:03d}", "{time:s}", "{epoch}")


@pytest.mark.parametrize("text", PATTERNS)
def test_a_pattern_is_no_dict(text: str, said: Any) -> None:
    assert value(said("--cfg-options", f"model.file={text}"), "model.file") == text


HABITS = {
    "--gpus 1": "--trainer.devices 1",
    "--gpu-id 0": "--trainer.accelerator gpu --trainer.devices [0]",
    "--device cuda": "--trainer.accelerator gpu",
    "--device=cpu": "--trainer.accelerator cpu",
    "--epochs 3": "--cfg-options train_cfg.max_epochs=3",
    "--seed 3": "--cfg-options randomness.seed=3",
    "--lr 0.1": "--cfg-options optim_wrapper.optimizer.lr=0.1",
    "--batch-size 8": "--cfg-options train_dataloader.batch_size=8",
    "--batch_size=8": "--cfg-options train_dataloader.batch_size=8",
    "--work_dir w": "--work-dir w",
    "--auto-resume": "--resume",
    "--fp16": "--amp",
    "--mixed_precision bf16": "--trainer.precision bf16-mixed",
}


@pytest.mark.parametrize(("typed", "meant"), HABITS.items(), ids=HABITS)
def test_options_of_other_programs(typed: str, meant: str, capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        read("fit", ["base.py", *typed.split()])
    assert f"unknown option {typed!r} → {meant}\n" in capsys.readouterr().err


def test_an_option_of_training_on_an_evaluation(capsys: Any) -> None:
    with pytest.raises(SystemExit, match="2"):
        read("test", ["base.py", "--amp", "--batch-size", "8"])
    said = capsys.readouterr().err
    assert "unknown option '--amp' → --cfg-options test_cfg.fp16=True" in said
    assert "unknown option '--batch-size 8' → --cfg-options test_dataloader.batch_size=8" in said


COMMANDS = {
    "train c.py --amp": "mm2pl fit c.py --amp",
    "val c.py": "mm2pl validate c.py",
    "eval c.py e.pth": "mm2pl validate c.py e.pth",
    "c.py --amp": "mm2pl fit c.py --amp",
    "tools/train.py c.py --amp": "mm2pl run tools/train.py c.py --amp",
    "dist_train c.py 2 --amp": "mm2pl fit c.py --trainer.devices 2 --amp",
    "analyze_logs plot_curve w --keys loss": "mm2pl plot log w --keys loss",
    "plot_curve w": "mm2pl plot log w",
    "mmseg::x/y.py": "mm2pl fit mmseg::x/y.py",
}


@pytest.mark.parametrize(("typed", "meant"), COMMANDS.items(), ids=COMMANDS)
def test_commands_of_other_programs(typed: str, meant: str, capsys: Any) -> None:
    assert main(typed.split()) == 2
    assert capsys.readouterr().err == f"mm2pl: {typed.split()[0]!r} is not a command → {meant}\n"
