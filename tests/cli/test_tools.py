"""explain, convert, convert-ckpt, plot and migrate, as their users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from mm2pl.cli.main import main
from mm2pl.config import Config

ROOT = Path(__file__).parents[2]
RINGS = str(ROOT / "configs" / "rings_mlp.py")


@pytest.fixture(autouse=True)
def _in_the_checkout(monkeypatch):
    monkeypatch.chdir(ROOT)


def write(path, text):
    path.write_text(text)
    return str(path)


def test_explain_as_json(capsys):
    assert main(["explain", RINGS, "--format", "json"]) == 0
    rows = {row["key"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["train_cfg.max_epochs"]["target"] == "Trainer(max_epochs=…)"


def test_explain_fails_on_what_a_run_refuses(tmp_path, capsys):
    config = write(tmp_path / "c.py", "train_cfg = dict(by_epoch=True, max_epoch=3)\n")
    assert main(["explain", config]) == 2
    assert "Did you mean 'max_epochs'?" in capsys.readouterr().out


def test_strict_makes_a_warning_an_error(tmp_path, capsys):
    config = write(
        tmp_path / "c.py",
        "evaluation = dict(interval=1)\nmodel = dict(type='torch.nn.Identity')\n"
        "train_cfg = dict(by_epoch=True, max_epochs=2)\n"
        "train_dataloader = dict(dataset=dict(type='ConcatDataset', datasets=[]))\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1))\n",
    )
    assert main(["explain", config]) == 0
    assert main(["explain", config, "--strict"]) == 2
    assert main(["fit", config, "--strict"]) == 2
    assert "evaluation" in capsys.readouterr().err


def test_convert_flattens(tmp_path):
    out = tmp_path / "flat.py"
    assert main(["convert", str(ROOT / "configs" / "digits_resnet.py"), "-o", str(out)]) == 0
    assert Config.fromfile(str(out)).train_cfg.max_epochs == 15
    assert "_base_" not in out.read_text()


def test_the_committed_yaml_is_what_convert_writes(tmp_path):
    out = tmp_path / "digits_resnet.yaml"
    assert main(["convert", "configs/digits_resnet.py", "-o", str(out)]) == 0
    assert out.read_text() == (ROOT / "configs" / "digits_resnet.yaml").read_text()


@pytest.mark.parametrize(
    "arguments",
    [["convert", RINGS, "-o"], ["convert-ckpt", "x.pth"], ["migrate", RINGS, "-o"]],
    ids=["convert", "convert-ckpt", "migrate"],
)
def test_nothing_is_overwritten(arguments, tmp_path, capsys):
    out = tmp_path / "there.py"
    out.write_text("precious")
    assert main([*arguments, str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert out.read_text() == "precious"


def test_convert_ckpt(tmp_path):
    torch.save({"fc.weight": torch.ones(2)}, tmp_path / "bare.pth")
    out = tmp_path / "weights.pth"
    assert main(["convert-ckpt", str(tmp_path / "bare.pth"), str(out), "--to", "weights"]) == 0
    assert torch.load(out, weights_only=True)["state_dict"]["fc.weight"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ({"state_dict": None}, [], "state_dict is None (NoneType) → a dict by names is needed"),
        ({"state_dict": {}}, ["--epoch-length", "-5"], "epoch_length=-5 → a number of batches"),
        ({"state_dict": {}}, ["--epoch-length", "0"], "epoch_length=0 → a number of batches"),
    ],
    ids=["no-weights", "negative", "zero"],
)
def test_convert_ckpt_writes_nothing_wrong(tmp_path, capsys, content, options, message):
    source, out = tmp_path / "source.pth", tmp_path / "out.ckpt"
    torch.save(content, source)
    assert main(["convert-ckpt", str(source), str(out), *options]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_plot_schedule(tmp_path, capsys):
    out = tmp_path / "lr.png"
    assert main(["plot", "schedule", RINGS, "-o", str(out), "--epoch-length", "157"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert (lines[0], lines[-1]) == ("10 epochs of 157 iterations", f"wrote {out}")
    assert out.read_bytes().startswith(b"\x89PNG")


def test_plot_schedule_as_json(tmp_path, capsys):
    config = write(
        tmp_path / "c.py",
        "train_cfg = dict(by_epoch=True, max_epochs=2)\nmodel = dict(type='M')\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1.0))\n"
        "param_scheduler = dict(type='MultiStepLR', milestones=[1], gamma=0.5)\n",
    )
    assert main(["plot", "schedule", config, "--json", "--epoch-length", "2"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "iterations": 4,
        "epoch_length": 2,
        "epoch_length_is_assumed": False,
        "curves": [{"entry": "lr", "groups": "all", "values": [1.0, 1.0, 0.5, 0.5]}],
        "notes": [],
    }
    assert main(["plot", "schedule", config, "--json", "-o", str(tmp_path / "lr.png")]) == 2
    assert "--json prints the values and -o draws them" in capsys.readouterr().err


def test_plot_schedule_counts_the_data(tmp_path, capsys):
    config = write(
        tmp_path / "c.py",
        "train_cfg = dict(by_epoch=True, max_epochs=2)\nmodel = dict(type='M')\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=1))\n"
        "train_dataloader = dict(batch_size=4, dataset=[1, 2, 3, 4, 5])\n",
    )
    assert main(["plot", "schedule", config, "--build"]) == 0
    assert "2 epochs of 2 iterations" in capsys.readouterr().out
    assert main(["plot", "schedule", config, "--build", "--epoch-length", "3"]) == 2
    assert "both say how long an epoch is" in capsys.readouterr().err


def test_migrate(tmp_path, capsys):
    old = write(
        tmp_path / "old.py",
        "optimizer = dict(type='SGD', lr=0.02)\noptimizer_config = dict(grad_clip=None)\n"
        "lr_config = dict(policy='step', step=[8, 11])\nrunner = dict(type='EpochBasedRunner', max_epochs=12)\n",
    )
    new = tmp_path / "new.py"
    assert main(["migrate", old, "-o", str(new), "--report", str(tmp_path / "report.html")]) == 0
    assert Config.fromfile(str(new)).train_cfg.max_epochs == 12
    assert "lr_config" in capsys.readouterr().out
    assert "<html>" in (tmp_path / "report.html").read_text()


TOOLS = {
    "explain": ["explain"],
    "convert": ["convert", "-o", "{tmp}/out.py"],
    "plot": ["plot", "schedule", "--epoch-length", "4"],
}


@pytest.mark.parametrize("tool", TOOLS.values(), ids=TOOLS)
def test_every_tool_reads_configs_as_fit_does(tool, tmp_path, capsys):
    command = [part.format(tmp=tmp_path) for part in tool]
    harmless = write(
        tmp_path / "c.py",
        "x = [1, 2]\nevaluation = dict(interval=1)\nmodel = dict(type='X')\n"
        "train_cfg = dict(by_epoch=True, max_epochs=2)\ntrain_dataloader = dict(dataset=dict(type='X'))\n"
        "optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.1))\n",
    )
    attack = write(
        tmp_path / "a.py", f"import os\nos.mkdir({str(tmp_path / 'pwned')!r})\nmodel = {{}}\n"
    )
    assert main([*command, harmless, "--print_config", "--cfg-options", "x.1=7"]) == 0
    assert "\nx = [1, 7]\n" in capsys.readouterr().out
    assert not (tmp_path / "out.py").exists()
    assert main([*command, attack, "--safe"]) == 2
    assert not (tmp_path / "pwned").exists()
    assert main([*command, harmless, "--safe", "--strict"]) == 2
    captured = capsys.readouterr()
    assert "evaluation" in captured.out + captured.err
    assert main([*command, harmless, "--safe"]) == 0


def test_convert_without_an_output_says_what_it_needs(capsys):
    assert main(["convert", RINGS]) == 2
    assert "-o out.yaml" in capsys.readouterr().err
