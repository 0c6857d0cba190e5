from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from mm2pl import device
from mm2pl.device import utils


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine without accelerators; its attributes are put in place by the tests."""
    for function in (utils.get_device, utils._plugin_available):
        function.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    yield monkeypatch
    for function in (utils.get_device, utils._plugin_available):
        function.cache_clear()


def plug_in(machine: Any, name: str, available: bool = True) -> None:
    module = ModuleType(f"torch_{name}")
    module.__spec__ = SimpleNamespace(name=module.__name__)  # type: ignore[assignment]
    machine.setitem(sys.modules, f"torch_{name}", module)
    machine.setattr(torch, name, SimpleNamespace(is_available=lambda: available), raising=False)


def test_a_bare_machine(machine: Any) -> None:
    assert device.get_device() == "cpu"
    for name in ("cuda", "npu", "mlu", "mps", "dipu", "musa"):
        assert getattr(device, f"is_{name}_available")() is False
    assert device.is_npu_support_full_precision() is False


@pytest.mark.parametrize("name", ["npu", "mlu", "dipu", "musa"])
def test_plugins(machine: Any, name: str) -> None:
    plug_in(machine, name)
    assert getattr(device, f"is_{name}_available")() is True
    assert device.get_device() == name


def test_a_plugin_without_its_device(machine: Any) -> None:
    plug_in(machine, "npu", available=False)
    assert device.get_device() == "cpu"


def test_a_plugin_that_fails_to_import(machine: Any, tmp_path: Any) -> None:
    (tmp_path / "torch_mlu.py").write_text("raise OSError('no driver')\n")
    machine.syspath_prepend(tmp_path)
    assert device.is_mlu_available() is False


def test_the_first_available_is_used(machine: Any) -> None:
    machine.setattr(torch.cuda, "is_available", lambda: True)
    machine.setattr(torch.backends.mps, "is_available", lambda: True)
    assert device.get_device() == "cuda"


@pytest.mark.parametrize(("version", "expected"), [(219, False), (220, True)])
def test_full_precision(machine: Any, version: int, expected: bool) -> None:
    plug_in(machine, "npu")
    utils_module = SimpleNamespace(get_soc_version=lambda: version)
    machine.setitem(sys.modules, "torch_npu.npu.utils", utils_module)
    assert device.is_npu_support_full_precision() is expected


@pytest.mark.gpu
def test_peak_of_cuda_memory() -> None:
    device.get_max_cuda_memory()
    block = torch.zeros(3 * 2**20, dtype=torch.uint8, device="cuda")
    assert device.get_max_cuda_memory() >= 3
    del block
    assert device.get_max_cuda_memory() >= 3
    assert device.get_max_cuda_memory() < 3
