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
