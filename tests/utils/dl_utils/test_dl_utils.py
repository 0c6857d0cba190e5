from __future__ import annotations

import os
import sys
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mm2pl.utils import dl_utils
from mm2pl.utils.dl_utils import setup_env, time_counter
from mm2pl.version import __version__


@pytest.mark.parametrize(
    ("layer", "exclude", "expected"),
    [
        (nn.BatchNorm2d(2), None, True),
        (nn.SyncBatchNorm(2), None, True),
        (nn.InstanceNorm1d(2), None, True),
        (nn.GroupNorm(1, 2), None, True),
        (nn.LayerNorm(2), nn.BatchNorm2d, True),
        (nn.LayerNorm(2), (nn.BatchNorm2d, nn.LayerNorm), False),
        (nn.Conv2d(1, 1, 1), None, False),
    ],
)
def test_is_norm(layer: nn.Module, exclude: Any, expected: bool) -> None:
    assert dl_utils.is_norm(layer, exclude) is expected


def test_wrong_exclude() -> None:
    with pytest.raises(TypeError, match='"exclude" must be either None or type or a tuple'):
        dl_utils.is_norm(nn.Identity(), "BatchNorm")  # type: ignore[arg-type]


def test_has_batch_norm() -> None:
    assert dl_utils.has_batch_norm(nn.Sequential(nn.Sequential(nn.BatchNorm1d(2))))
    assert not dl_utils.has_batch_norm(nn.Sequential(nn.LayerNorm(2)))


def test_tensor2imgs() -> None:
    images = np.arange(2 * 4 * 5 * 3, dtype=np.float32).reshape(2, 4, 5, 3)
    mean, std = (1.0, 2.0, 3.0), (2.0, 4.0, 8.0)
    normalized = torch.from_numpy((images[..., ::-1] - mean) / std).permute(0, 3, 1, 2).float()
    back = dl_utils.tensor2imgs(normalized, mean, std)
    for image, expected in zip(back, images, strict=True):
        np.testing.assert_allclose(image, expected, rtol=1e-6)
        assert image.flags["C_CONTIGUOUS"]
    gray = dl_utils.tensor2imgs(torch.ones(1, 1, 2, 3), (1.0,), (2.0,), to_bgr=False)
    assert gray[0].tolist() == np.full((2, 3, 1), 3.0).tolist()


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 4, 5), {}),
        ((1, 2, 4, 5), {}),
        ((1, 1, 4, 5), {}),
        ((1, 3, 4, 5), {"mean": (1.0,)}),
    ],
)
def test_wrong_images(shape: tuple, options: dict) -> None:
    with pytest.raises(AssertionError, match=r"must be \(N, C, H, W\)|mean and std need"):
        dl_utils.tensor2imgs(torch.zeros(shape), **options)


def test_torch_names() -> None:
    rows, columns = dl_utils.torch_meshgrid(torch.arange(2), torch.arange(3))
    assert rows.shape == columns.shape == (2, 3)
    assert rows[1].tolist() == [1, 1, 1]
    assert torch.__version__ == dl_utils.TORCH_VERSION
    assert not dl_utils.is_jit_tracing()


def test_mmcv_full_available(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"mmcv": object(), "mmcv._ext": None}
    monkeypatch.setattr("mm2pl.utils.dl_utils.misc.find_spec", found.get)
    assert not dl_utils.mmcv_full_available()
    found["mmcv._ext"] = object()
    assert dl_utils.mmcv_full_available()


@pytest.fixture
def start_methods(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    methods: list[str] = []
    monkeypatch.setattr(
        setup_env,
        "mp",
        SimpleNamespace(
            get_start_method=lambda allow_none: methods[-1] if methods else None,
            set_start_method=lambda method, force: methods.append(method),
        ),
    )
    return methods


def test_set_multi_processing(start_methods: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(setNumThreads=threads.append))  # type: ignore[arg-type]
    dl_utils.set_multi_processing("fork", opencv_num_threads=2)
    dl_utils.set_multi_processing("fork")
    with pytest.warns(UserWarning, match="`spawn` is different from the previous setting `fork`"):
        dl_utils.set_multi_processing("spawn")
    assert start_methods == ["fork", "fork", "spawn"]
    assert threads == [2, 0, 0]


def test_threads_of_distributed_processes(start_methods, monkeypatch) -> None:
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    with pytest.warns(UserWarning, match="Setting (OMP|MKL)_NUM_THREADS") as caught:
        dl_utils.set_multi_processing(distributed=True)
    assert len(caught) == 2
    dl_utils.set_multi_processing(distributed=True)
    assert (os.environ["OMP_NUM_THREADS"], os.environ["MKL_NUM_THREADS"]) == ("1", "1")


def test_collect_env() -> None:
    env = dl_utils.collect_env()
    assert env["PyTorch"] == torch.__version__
    assert env["sys.platform"] == sys.platform
    assert env["Python"] == sys.version.replace("\n", "")
    assert env["numpy_random_seed"] == np.random.get_state()[1][0]  # type: ignore[index]
    assert {"CUDA available", "GCC", "Lightning", "mm2pl"} <= set(env)


def test_collect_env_says_who_serves_mmengine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mmengine", SimpleNamespace(__version__="0.10.7"))
    monkeypatch.setattr(metadata, "version", lambda distribution: None)
    env = dl_utils.collect_env()
    assert (env["MMEngine"], env["mm2pl"]) == ("0.10.7", f"{__version__}, served as mmengine")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    monkeypatch.setattr(dl_utils.TimeCounter, "instance_dict", {})
    now = [0.0]
    monkeypatch.setattr(time_counter.time, "perf_counter", lambda: now[0])
    return now


def test_time_counter_as_decorator(clock: list[float], capsys) -> None:
    @dl_utils.TimeCounter(log_interval=2, warmup_interval=2, with_sync=False)
    def work(seconds: float) -> float:
        """Work hard."""
        clock[0] += seconds
        return seconds

    assert [work(s) for s in (100.0, 1.0, 2.0, 3.0)] == [100.0, 1.0, 2.0, 3.0]
    assert work.__doc__ == "Work hard."
    assert capsys.readouterr().out.splitlines() == [
        "[work]-time per run averaged in the past 2 runs: 1000.0 ms",
        "[work]-time per run averaged in the past 4 runs: 2000.0 ms",
    ]


def test_time_counter_as_context(clock: list[float], capsys) -> None:
    for _ in range(2):
        with dl_utils.TimeCounter(tag="block"):
            clock[0] += 0.5
    assert "[block]-time per run averaged in the past 2 runs: 500.0 ms" in capsys.readouterr().out
    with pytest.raises(AssertionError, match="please specify the tag"), dl_utils.TimeCounter():
        pass
    with pytest.raises(AssertionError, match="warmup_interval must be at least 1, but got 0"):
        dl_utils.TimeCounter(warmup_interval=0)


def test_other_ranks_do_not_count(clock: list[float], monkeypatch, capsys) -> None:
    monkeypatch.setattr(time_counter, "is_main_process", lambda: False)
    assert dl_utils.TimeCounter()(abs) is abs
    with dl_utils.TimeCounter(tag="block"):
        pass
    assert capsys.readouterr().out == ""
