"""Where an iteration goes: Lightning's profilers and ``ProfilerHook``, asked for on the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "digits_resnet.py"
SHORT = ["--trainer.limit_train_batches", "3", "--trainer.limit_val_batches", "1"]
OPTIONS = ["--cfg-options", "train_cfg.max_epochs=1", "train_dataloader.batch_size=16"]

pytestmark = pytest.mark.slow


def fit(work_dir: Path, config: Path, *arguments: str) -> str:
    """Run the command in its own process, and return all that it prints."""
    command = [sys.executable, "-m", "mm2pl", "fit", str(config)]
    run = subprocess.run(
        [*command, "--work-dir", str(work_dir), *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-2000:]
    return run.stdout


def calls_of(report: str, action: str) -> int:
    """Return how often a simple profiler's report says that something was done: its third column."""
    rows = [line.split("|") for line in report.splitlines() if line.startswith("|")]
    return next((int(row[3]) for row in rows if row[1].strip() == action), 0)


def test_a_simple_profile_names_the_parts_of_an_iteration(tmp_path) -> None:
    said = fit(tmp_path, CONFIG, "--trainer.profiler", "simple", *SHORT, *OPTIONS)
    report = said[said.index("FIT Profiler Report") :]
    parts = {
        "run_training_batch": 3,
        "[LeanEpochLoop].train_dataloader_next": 3,
        "[Strategy]SingleDeviceStrategy.training_step": 3,
        "[Callback]RunCallback.on_train_batch_start": 3,
        "[Callback]RunCallback.on_train_batch_end": 3,
        "[Strategy]SingleDeviceStrategy.validation_step": 1,
    }
    assert {part: calls_of(report, part) for part in parts} == parts


def test_a_profiler_hook_traces_operators(tmp_path) -> None:
    trace = tmp_path / "trace.json"
    hook = {
        "type": "ProfilerHook",
        "by_epoch": False,
        "profile_times": 2,
        "on_trace_ready": {"type": "log_trace", "sort_by": "cpu_time_total", "row_limit": 50},
        "json_trace_path": str(trace),
    }
    config = tmp_path / "profiled.py"
    config.write_text(f"_base_ = {str(CONFIG)!r}\ncustom_hooks = [{hook!r}]\n")
    said = fit(tmp_path, config, *SHORT, *OPTIONS)
    # A table of operators with their share of the CPU's time.
    assert re.search(r"aten::convolution\s+\d+\.\d+%", said)
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert {"aten::convolution", "ConvolutionBackward0", "Optimizer.step#SGD.step"} <= names
