from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from mm2pl.utils.dl_utils import importing
from mm2pl.utils.dl_utils.importing import once_imported

OWN_NAME = """
import importlib, sys
me = sys.modules.pop("late_lib")
if not hasattr(sys, "late_lib_inside"):
    sys.late_lib_inside = True
    importlib.import_module("late_lib")  # as OpenCV imports its library
    del sys.late_lib_inside
sys.modules["late_lib"] = me
done = 0
"""


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Write a library that can be imported, and forget it afterwards."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(text: str) -> None:
        (tmp_path / "late_lib.py").write_text(text)
        importlib.invalidate_caches()

    yield write
    sys.modules.pop("late_lib", None)
    importing._WAITING.calls.pop("late_lib", None)


def add(module) -> None:
    module.done += 1


def test_an_imported_module_is_set_up_at_once(monkeypatch) -> None:
    module = SimpleNamespace(done=0)
    monkeypatch.setitem(sys.modules, "late_lib", module)
    once_imported("late_lib", add)
    assert module.done == 1


@pytest.mark.parametrize("text", ["done = 0", OWN_NAME], ids=["plain", "imports its own name"])
def test_a_module_is_set_up_when_it_is_imported(library, text) -> None:
    library(text)
    once_imported("late_lib", lambda module: pytest.fail("a later call takes its place"))
    once_imported("late_lib", add)
    assert "late_lib" not in sys.modules
    assert importlib.import_module("late_lib").done == 1
    assert importlib.reload(sys.modules["late_lib"]).done == 0  # once


def test_a_forked_process_sets_it_up_too(library) -> None:
    library("done = 0")
    once_imported("late_lib", add)
    context = multiprocessing.get_context("fork")
    told = context.SimpleQueue()
    process = context.Process(target=lambda: told.put(importlib.import_module("late_lib").done))
    process.start()
    assert told.get() == 1
    process.join()


def test_looking_for_a_module_is_not_importing_it(library) -> None:
    once_imported("late_lib", add)
    assert importlib.util.find_spec("late_lib") is None
    library("done = 0")
    assert importlib.util.find_spec("late_lib") is not None
    module = importlib.import_module("late_lib")
    assert module.done == 1
    assert (
        type(module.__loader__).__name__
        == type(module.__spec__.loader).__name__
        == "SourceFileLoader"
    )


def test_a_module_that_another_thread_is_importing_is_waited_for(library) -> None:
    library("import time\ntime.sleep(0.3)\ndone = 0")
    thread = threading.Thread(target=importlib.import_module, args=["late_lib"])
    thread.start()
    while "late_lib" not in sys.modules:
        time.sleep(0.01)
    once_imported("late_lib", add)
    assert sys.modules["late_lib"].done == 1
    thread.join()


def test_an_import_that_fails_may_succeed_later(library) -> None:
    library("raise ImportError('not yet')")
    once_imported("late_lib", add)
    with pytest.raises(ImportError, match="not yet"):
        importlib.import_module("late_lib")
    library("done = 0; later = True")
    assert importlib.import_module("late_lib").done == 1


def test_what_is_not_there_does_no_harm() -> None:
    once_imported("late_lib_of_nobody", add)
    with pytest.raises(ModuleNotFoundError, match="late_lib_of_nobody"):
        importlib.import_module("late_lib_of_nobody")


def test_a_run_imports_no_opencv_for_its_threads() -> None:
    pytest.importorskip("cv2")
    program = (
        "import sys\nfrom mm2pl.utils.dl_utils import set_multi_processing\n"
        # Not 2, which OpenCV takes by itself on a machine with two cores.
        "set_multi_processing(opencv_num_threads=1)\nbefore = 'cv2' in sys.modules\n"
        "import cv2\nprint(before, cv2.getNumThreads())"
    )
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == ["False", "1"]
