"""``mmcv._ext`` is served where MMCV has no compiled operators that load; toy packages stand for MMCV."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from mm2pl.compat import serve_mmcv_ext
from mm2pl.compat.mmcv_ext import MmcvExt
from mm2pl.ops.ext import FUNCTIONS

OPS = """
import importlib
ext = importlib.import_module("mmcv._ext")
for name in ("nms", "roi_align_forward", "knn_forward"):
    assert hasattr(ext, name), name
from .roi_align import roi_align
from .nms import nms
"""
FILES = {
    "__init__.py": "",
    "ops/__init__.py": OPS,
    "ops/roi_align.py": "def roi_align(*args): raise RuntimeError('the file itself')",
    "ops/nms.py": "from mmcv import _ext\ndef nms(*args): return _ext.nms(*args)",
}
COMPILED = "WHO = 'compiled'\ndef nms(*args): return WHO\nroi_align_forward = knn_forward = nms"


@pytest.fixture
def mmcv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    def write(ext: str | None = None) -> None:
        for name, text in {**FILES, **({} if ext is None else {"_ext.py": ext})}.items():
            path = tmp_path / "mmcv" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    monkeypatch.syspath_prepend(tmp_path)
    before = {name: sys.modules.pop(name) for name in list(sys.modules) if is_mmcv(name)}
    yield write
    for name in [name for name in sys.modules if is_mmcv(name)]:
        del sys.modules[name]
    sys.modules.update(before)


def is_mmcv(name: str) -> bool:
    return name.partition(".")[0] == "mmcv"


@pytest.fixture
def served() -> Iterator[MmcvExt]:
    finder = serve_mmcv_ext()
    assert finder is not None
    yield finder
    finder.remove()


BOXES = (torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2]]), torch.tensor([0.1, 0.2]), 0.5)


@pytest.mark.parametrize("ext", [None, "raise ImportError('undefined symbol: _ZN3c10')"])
def test_ours_where_none_loads(
    mmcv: Callable[..., None], served: MmcvExt, ext: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    mmcv(ext)
    import mmcv.ops as operators

    assert operators.nms(*BOXES).tolist() == [1]
    out = operators.roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 0, 3, 3]]), 2)
    assert out.tolist() == [[[[1, 1], [1, 1]]]]
    why = "undefined symbol" if ext else "has no compiled operators"
    assert [why in record.message for record in caplog.records] == [True]


def test_compiled_ones_win(mmcv: Callable[..., None], served: MmcvExt) -> None:
    mmcv(COMPILED)
    import mmcv.ops as operators

    assert operators.nms(*BOXES) == "compiled"
    with pytest.raises(RuntimeError, match="the file itself"):
        operators.roi_align()
    assert not served.served


@pytest.mark.parametrize(("switch", "who"), [("mm2pl", [1]), ("mmcv", "compiled")])
def test_the_switch(
    mmcv: Callable[..., None],
    served: MmcvExt,
    monkeypatch: pytest.MonkeyPatch,
    switch: str,
    who: object,
) -> None:
    mmcv(COMPILED)
    monkeypatch.setenv("MM2PL_MMCV_EXT", switch)
    import mmcv.ops as operators

    found = operators.nms(*BOXES)
    assert (found.tolist() if isinstance(found, torch.Tensor) else found) == who


def test_a_wrong_switch(
    mmcv: Callable[..., None], served: MmcvExt, monkeypatch: pytest.MonkeyPatch
) -> None:
    mmcv()
    monkeypatch.setenv("MM2PL_MMCV_EXT", "yes")
    with pytest.raises(ImportError, match="MM2PL_MMCV_EXT='yes' → one of auto, mm2pl, mmcv"):
        import mmcv.ops


def test_a_half_import_is_forgotten(mmcv: Callable[..., None]) -> None:
    mmcv()
    with pytest.raises(ModuleNotFoundError, match=r"mmcv\._ext"):
        import mmcv.ops
    finder = serve_mmcv_ext()
    assert finder is not None
    try:
        import mmcv.ops

        assert mmcv.ops.nms(*BOXES).tolist() == [1]
    finally:
        finder.remove()
    assert [name for name in sys.modules if name.startswith(("mmcv.ops", "mmcv._ext"))] == []
    with pytest.raises(ModuleNotFoundError, match=r"mmcv\._ext"):
        import mmcv.ops


def test_only_one_serves(served: MmcvExt) -> None:
    assert serve_mmcv_ext() is None


def test_every_function_is_there(served: MmcvExt, mmcv: Callable[..., None]) -> None:
    mmcv()
    from mmcv import _ext

    assert {name for name in vars(_ext) if not name.startswith("__")} == {*FUNCTIONS}
    assert all(callable(getattr(_ext, name)) for name in FUNCTIONS)


def test_the_alias_serves_it(mmcv: Callable[..., None], tmp_path: Path) -> None:
    mmcv()
    script = "from mm2pl.compat import alias_mmengine\nwith alias_mmengine():\n"
    script += "    import mmcv.ops, importlib.util\n"
    script += "    assert importlib.util.find_spec('mmcv._ext').loader is not None\n"
    script += "import sys; print([n for n in sys.modules if n.startswith('mmcv.ops')])"
    path = os.pathsep.join([str(tmp_path), *sys.path])
    ran = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (0, "[]\n"), ran.stderr
