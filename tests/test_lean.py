"""What importing torchmetrics and Lightning draws in, in new processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

HEAVY = ("matplotlib.pyplot", "scipy.signal", "scipy.stats", "torchvision")


def run(source: str) -> str:
    command = [sys.executable, "-W", "ignore", "-c", source]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_lightning_comes_without_what_a_run_does_not_use():
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    source = f"""
import sys, mm2pl.cli.lightning_cli, mm2pl.runner
print([m for m in {HEAVY} if m in sys.modules])
import torchmetrics, torch, inspect
import matplotlib; matplotlib.use("agg")
metric = torchmetrics.classification.BinaryAccuracy()
metric.update(torch.tensor([0.2, 0.8]), torch.tensor([0, 1]))
figure, axes = metric.plot()
import scipy.signal.windows
import torchmetrics.utilities.plot as plot
print(type(figure).__name__, scipy.signal.convolve([1, 2], [3]).tolist(), plot.plot_curve.__module__)
"""
    assert run(source).splitlines() == ["[]", "Figure [3, 6] torchmetrics.utilities.plot"]


def test_whoever_needs_scipy_signal_meanwhile_gets_it():
    pytest.importorskip("scipy")
    source = """
from mm2pl.lean import SIGNAL, stand_ins
import sys
with stand_ins():
    import scipy.signal
    before = scipy.signal.hamming
    from scipy.signal.windows import hann
print(before, hann(3).tolist(), sys.modules[SIGNAL].__file__ is not None)
"""
    assert run(source) == "None [0.0, 1.0, 0.0] True"


def test_the_package_is_found_as_python_finds_it():
    import torchmetrics

    spec = importlib.util.find_spec("torchmetrics")
    assert spec is not None
    assert spec.origin == torchmetrics.__file__
    assert importlib.util.find_spec("torchmetrics.nothing") is None
