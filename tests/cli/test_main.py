"""The command line before anything slow is imported."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from mm2pl.cli.main import COMMANDS, NOBODY_READS, main
from mm2pl.version import __version__


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]], ids=["none", "--help", "-h"])
def test_help_names_every_command(arguments, capsys):
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert all(f"  {command} " in text for command in COMMANDS)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"mm2pl {__version__}"


def test_misspelt_command_is_answered_with_the_right_one(capsys):
    assert main(["fti", "config.py"]) == 2
    assert "Did you mean 'fit'?" in capsys.readouterr().err


def test_missing_config(capsys):
    assert main(["fit", "nowhere/config.py"]) == 2
    captured = capsys.readouterr()
    assert "'nowhere/config.py' does not exist" in captured.err
    assert "Traceback" not in captured.err


def test_help_imports_neither_torch_nor_lightning():
    code = (
        "import sys; from mm2pl.cli import main; main(['--help']);"
        "print(sorted({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")


OLD = """
model = dict(type='Classifier', backbone=dict(type='Net'))
data = dict(samples_per_gpu=2, train=dict(type='Pictures'))
optimizer = dict(type='SGD', lr=0.1)
lr_config = dict(policy='step', step=[2], warmup='linear', warmup_iters=5, warmup_ratio=0.1)
total_epochs = 3
checkpoint_config = dict(interval=1)
log_config = dict(interval=10, hooks=[dict(type='TextLoggerHook')])
"""
TODAY = """
train_cfg = dict(by_epoch=True, max_epochs=3)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW'),
    paramwise_cfg=dict(bias_lr_mult=2.0),
)
param_scheduler = [
    dict(type='CosineAnnealingLR', T_max=3),
    dict(type='OneCycleLR', eta_max=0.1, total_steps=12, by_epoch=False),
    dict(type='StepMomentum', step_size=1),
]
"""


@pytest.mark.parametrize(
    "words",
    [
        ["migrate", "old.py", "-o", "new.py", "--report", "report.md"],
        ["explain", "today.py"],
        ["convert", "today.py", "-o", "flat.py"],
        ["plot", "schedule", "today.py", "--epoch-length", "4"],
        ["plot", "schedule", "today.py", "--epoch-length", "4", "--json"],
    ],
    ids=" ".join,
)
def test_what_only_reads_a_config_imports_neither_torch_nor_lightning(words, tmp_path):
    (tmp_path / "old.py").write_text(OLD)
    (tmp_path / "today.py").write_text(TODAY)
    code = (
        "import sys; from mm2pl.cli import main; assert main(sys.argv[1:]) == 0;"
        "print({'torch', 'lightning'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == str(set())


@pytest.mark.parametrize(
    "option", ["--amp", "--auto-scale-lr", "--no-validate", "--cfg-options=work_dir=a"]
)
def test_options_that_change_a_config_are_refused_without_a_run(option, tmp_path, capsys):
    path = tmp_path / "plain.yaml"
    path.write_text("model: {class_path: lightning.pytorch.demos.boring_classes.BoringModel}\n")
    assert main(["fit", str(path), option]) == 2
    assert "changes an MMEngine config, and this is LightningCLI YAML" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix", reason="a closed pipe is another error elsewhere")
def test_nobody_reads_on():
    # Such as `mm2pl … | head -1`.
    program = [sys.executable, "-m", "mm2pl", "--help"]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == NOBODY_READS
