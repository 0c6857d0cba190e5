from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from mm2pl.logging import HistoryBuffer
from mm2pl.logging.history_buffer import Pending


class DeviceTensor:
    """A one-element tensor that behaves as if it were on a device: reading it is recorded."""

    is_cpu = False
    device = "fake:0"
    reads = 0

    def __init__(self, value: float, dtype: torch.dtype = torch.float32) -> None:
        self.value, self.dtype = value, dtype

    def numel(self) -> int:
        return 1

    def detach(self) -> DeviceTensor:
        return self

    def reshape(self, shape: tuple) -> DeviceTensor:
        assert shape == ()
        return self

    def clone(self) -> DeviceTensor:
        return DeviceTensor(self.value, self.dtype)


@pytest.fixture(autouse=True)
def transfers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tensors each transfer from the fake device fetched."""
    sizes: list[int] = []

    def fetch(tensors: list) -> list[float]:
        sizes.append(len(tensors))
        return [t.value for t in tensors]

    monkeypatch.setattr("mm2pl.logging.history_buffer._to_list", fetch)
    return sizes


@pytest.mark.parametrize(
    ("name", "window", "expected"),
    [
        ("mean", None, 2.5),
        ("mean", 2, 15 / 7),
        ("mean", 100, 2.5),
        ("mean", 0, 2.5),  # as -0 slices all
        ("max", None, 8.0),
        ("max", 1, 7.0),
        ("min", None, 2.0),
        ("min", 2, 7.0),
    ],
)
def test_statistics(name: str, window: int | None, expected: float) -> None:
    buffer = HistoryBuffer()
    for value, count in ((2.0, 1), (3.0, 0), (8.0, 3), (7.0, 4)):
        buffer.update(value, count)
    assert buffer.statistics(name, window) == expected
    assert getattr(buffer, name)(window) == expected
    assert buffer.statistics("current") == buffer.current() == 7.0


def test_only_the_last_values_are_kept() -> None:
    buffer = HistoryBuffer([1, 2, 3], [1, 1, 1], max_length=4)
    for value in range(4, 100):
        buffer.update(value)
        values, counts = buffer.data
        assert values.tolist() == list(range(max(1, value - 3), value + 1))
        assert len(counts) == len(values)
    assert len(buffer._values) <= 64


def test_too_long_a_history_is_cut_with_a_warning() -> None:
    with pytest.warns(
        UserWarning, match=r"length of history buffer\(3\) exceeds the max_length\(2\)"
    ):
        buffer = HistoryBuffer([1, 2, 3], [1, 1, 1], max_length=2)
    assert buffer.data[0].tolist() == [2, 3]


def test_appending_takes_constant_time() -> None:
    moved = []
    buffer = HistoryBuffer()
    make_room = buffer._make_room
    buffer._make_room = lambda: (moved.append(len(buffer._values)), make_room())  # type: ignore[assignment]
    for _ in range(10_000):
        buffer.update(1.0)
    assert len(moved) < 15


@pytest.mark.parametrize(
    ("first", "then", "dtype"),
    [
        ([], [1], np.float64),
        ([1], [2], np.int64),
        ([1], [2, 2.5], np.float64),
        ([1.5], [2], np.float64),
        ([True], [2], np.int64),
        ([], [np.float64(1.5)], np.float64),
    ],
)
def test_types_are_those_of_numpys_append(first: list, then: list, dtype: type) -> None:
    buffer = HistoryBuffer(first, [1] * len(first))
    for value in then:
        buffer.update(value)
    assert buffer.data[0].dtype == dtype
    assert buffer.data[0].tolist() == [*first, *then]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones(1), 1), "log_val must be int or float but got <class 'numpy.ndarray'>"),
        (("1", 1), "log_val must be int or float but got <class 'str'>"),
        ((torch.ones(2), 1), "log_val must be int or float but got <class 'torch.Tensor'>"),
        ((1, "1"), "count must be int but got <class 'str'>"),
    ],
)
def test_wrong_values(arguments: tuple, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        HistoryBuffer().update(*arguments)


def test_other_wrong_arguments() -> None:
    with pytest.raises(AssertionError, match="should be equal, but got 1 and 2"):
        HistoryBuffer([1], [1, 1])
    with pytest.raises(AssertionError, match="window size should be int, but got <class 'float'>"):
        HistoryBuffer([1], [1]).mean(1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="is an empty array! please call update first"):
        HistoryBuffer().current()
    with pytest.raises(KeyError, match=r"^median has not been registered.*current, max, mean, min"):
        HistoryBuffer().statistics("median")


def test_registered_statistics(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        HistoryBuffer, "_statistics_methods", dict(HistoryBuffer._statistics_methods)
    )

    @HistoryBuffer.register_statistics
    def weighted(self: HistoryBuffer, power: int) -> float:
        return float((self._log_history**power).sum() / self._count_history.sum())

    assert HistoryBuffer([1, 3], [1, 1]).statistics("weighted", 2) == 5.0
    with pytest.raises(AssertionError, match="cannot be registered twice"):
        HistoryBuffer.register_statistics(weighted)


def test_tensors_on_the_cpu_are_read_at_once(transfers: list[int]) -> None:
    buffer = HistoryBuffer()
    loss = torch.tensor([0.1], requires_grad=True)
    buffer.update(loss)
    with torch.no_grad():
        loss.zero_()
    assert buffer.current() == torch.tensor(0.1).item()
    assert transfers == []


def test_tensors_on_a_device_wait_until_a_statistic_is_asked(transfers: list[int]) -> None:
    pending = Pending()
    loss, acc = HistoryBuffer(), HistoryBuffer()
    loss._pending = acc._pending = pending
    acc.update(8.0)
    acc.update(9.0)
    for step in range(5):
        loss.update(DeviceTensor(step))
        acc.update(DeviceTensor(10 + step), 2)
    acc.update(99.0)  # keeps its place behind those that wait
    assert transfers == []
    assert loss.mean() == 2.0
    assert transfers == [10]
    assert acc.data[0].tolist() == [8, 9, 10, 11, 12, 13, 14, 99]
    assert acc.data[1].tolist() == [1, 1, 2, 2, 2, 2, 2, 1]
    assert transfers == [10]


def test_a_value_changed_in_place_after_the_update_does_not_matter() -> None:
    buffer, loss = HistoryBuffer(), DeviceTensor(1.0)
    buffer.update(loss)
    loss.value = 2.0
    assert buffer.current() == 1.0


def test_one_transfer_per_dtype(transfers: list[int]) -> None:
    buffer = HistoryBuffer()
    for value, dtype in ((1.5, torch.float32), (2, torch.int64), (3.5, torch.float32)):
        buffer.update(DeviceTensor(value, dtype))
    assert buffer.data[0].tolist() == [1.5, 2, 3.5]
    assert sorted(transfers) == [1, 2]


def test_waiting_tensors_are_limited(transfers: list[int], monkeypatch) -> None:
    monkeypatch.setattr("mm2pl.logging.history_buffer._MAX_PENDING", 8)
    buffer = HistoryBuffer()
    for step in range(20):
        buffer.update(DeviceTensor(step))
    assert transfers == [8, 8]
    assert buffer.data[0].tolist() == list(range(20))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda b: pickle.loads(pickle.dumps(b))])
def test_copies(copied) -> None:
    buffer = HistoryBuffer([1.0], [2], max_length=3)
    buffer.update(DeviceTensor(5.0))
    twin = copied(buffer)
    twin.update(7.0)
    assert [b.tolist() for b in twin.data] == [[1, 5, 7], [2, 1, 1]]
    assert twin.max_length == 3
    assert buffer.data[0].tolist() == [1, 5]


@pytest.mark.gpu
def test_updating_never_waits_for_the_gpu(monkeypatch) -> None:
    monkeypatch.undo()
    buffer = HistoryBuffer()
    losses = torch.arange(64, device="cuda", dtype=torch.float16)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for k in range(64):
            buffer.update(losses[k])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    losses.zero_()
    assert buffer.data[0].tolist() == list(range(64))


def test_a_bound_that_is_set_later_holds_from_then_on() -> None:
    buffer = HistoryBuffer()
    for value in range(8):
        buffer.update(float(value))
    buffer.max_length = 3
    for value in range(8, 40):
        buffer.update(float(value))
        values, counts = buffer.data
        assert values.tolist() == [value - 2.0, value - 1.0, value]
        assert counts.tolist() == [1, 1, 1]
