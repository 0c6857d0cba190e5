"""What importing torch, Lightning and torchmetrics takes and draws in, in new processes."""

from __future__ import annotations

import gc
import importlib.util
import subprocess
import sys
import weakref

import pytest

from mm2pl.lean import collected_later

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


def test_the_finders_of_others_see_what_is_imported():
    source = """
import sys
class Hook:
    seen = []
    def find_spec(self, name, path=None, target=None):
        self.seen.append(name)
sys.meta_path.insert(0, Hook())
import mm2pl
import torch, lightning
print({"torch", "lightning"} <= set(Hook.seen), type(torch.__spec__.loader).__name__)
"""
    assert run(source) == "True SourceFileLoader"


def test_nothing_is_collected_while_torch_and_lightning_are_imported():
    source = """
import gc, sys
collections = []
gc.callbacks.append(lambda phase, info: phase == "start" and collections.append(info["generation"]))
import mm2pl
before = len(collections)
import torch, lightning, torch._dynamo
print(len(collections) - before, gc.isenabled(), gc.get_freeze_count())
print(gc.get_count()[0] < 1000, len(gc.get_objects(2)) > 100_000)
"""
    during, *rest = run(source).split()
    assert int(during) < 20
    assert rest == ["True", "0", "True", "True"]


@pytest.fixture
def collector():
    """Leave the garbage collector as it was."""
    yield
    gc.unfreeze()
    gc.enable()


def test_what_has_been_made_meanwhile_is_old_and_still_collected(collector):
    class Part:
        pass

    with collected_later():
        assert not gc.isenabled()
        part = Part()
        part.itself = part
    assert gc.isenabled()
    assert any(each is part for each in gc.get_objects(2))
    gone = weakref.ref(part)
    del part
    gc.collect()
    assert gone() is None


def test_a_collector_that_is_switched_off_stays_so(collector):
    gc.disable()
    with collected_later():
        pass
    assert not gc.isenabled()


def test_what_a_user_has_frozen_stays_frozen(collector):
    gc.freeze()
    frozen = gc.get_freeze_count()
    with collected_later():
        made = [[]]
    assert gc.get_freeze_count() >= frozen - 100
    assert not any(each is made for each in gc.get_objects(2))


def test_an_import_that_fails_switches_the_collector_on_again(collector):
    with pytest.raises(ImportError), collected_later():
        raise ImportError("on purpose")
    assert gc.isenabled()
