from __future__ import annotations

import io
from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mm2pl.logging import HistoryBuffer, MessageHub


@pytest.fixture
def hub() -> MessageHub:
    return MessageHub("hub")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1),
        (0.5, 0.5),
        (np.float32(0.1), float(np.float32(0.1))),
        (np.array([3]), 3),
        (torch.tensor(0.1), torch.tensor(0.1).item()),
        (torch.tensor([[2]]), 2),
        (torch.tensor(0.5, requires_grad=True), 0.5),
        (torch.tensor(1.5, dtype=torch.bfloat16), 1.5),
    ],
)
def test_scalars_of_all_types(hub: MessageHub, value: object, expected: float) -> None:
    for _ in range(2):
        hub.update_scalar("loss", value)
    assert hub.get_scalar("loss").data[0].tolist() == [expected, expected]
    assert type(hub.get_scalar("loss").current().item()) is type(expected)


@pytest.mark.parametrize("value", [np.ones(2), torch.ones(2), "1", None, [1]], ids=repr)
def test_what_is_no_scalar(hub: MessageHub, value: object) -> None:
    with pytest.raises(AssertionError, match="value of 'loss' must be a number, or an array or"):
        hub.update_scalar("loss", value)


def test_update_scalars(hub: MessageHub) -> None:
    hub.update_scalars({"a": 1, "b": {"value": torch.tensor(2.0), "count": torch.tensor(4)}})
    hub.update_scalars({"b": {"value": 3}}, resumed=True)
    assert hub.get_scalar("a").mean() == 1
    assert hub.get_scalar("b").mean() == 1.0
    assert hub.get_scalar("b").data[1].tolist() == [4, 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda h: h.update_scalar("a", 1, 1.5), "type of count must be int"),
        (lambda h: h.update_scalars([1]), "`log_dict` must be a dict!"),
        (lambda h: h.update_scalars({"a": {"count": 1}}), "value must be defined in"),
        (
            lambda h: h.update_scalars({"a": {"value": 1, "count": 1.5}}),
            "type of count must be int",
        ),
        (lambda h: h.update_info_dict([1]), "`info_dict` must be a dict!"),
        (lambda h: h.load_state_dict({"log_scalars": {}}), "must contain key: `runtime_info`"),
        (lambda h: MessageHub("x", log_scalars={"a": 1}), "must be HistoryBuffer, but got <class"),
        (lambda h: MessageHub("x", resumed_keys={"a": True}), "but got \\['a'\\]"),
    ],
)
def test_wrong_calls(hub: MessageHub, call, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        call(hub)


def test_wrong_type_of_first_content() -> None:
    with pytest.raises(TypeError, match="runtime_info should be a dict or `None`, but got <class"):
        MessageHub("x", runtime_info=[1])  # type: ignore[arg-type]


@pytest.mark.parametrize("update", ["update_scalar", "update_info"])
def test_resumed_is_said_once(hub: MessageHub, update: str) -> None:
    getattr(hub, update)("a", 1, resumed=False)
    with pytest.raises(AssertionError, match="a used to be False, but got True now"):
        getattr(hub, update)("a", 1)


def test_info(hub: MessageHub) -> None:
    value = {"x": 1}
    hub.update_info("a", value)
    hub.update_info_dict({"b": 2, "c": 3})
    assert hub.get_info("a") is value
    assert hub.get_info("nothing", "default") == "default"
    assert hub.pop_info("b") == 2
    assert hub.pop_info("b", 7) == 7
    assert hub.runtime_info == {"a": value, "c": 3}


def test_a_missing_scalar_names_those_there_are(hub: MessageHub) -> None:
    hub.update_scalar("train/loss", 1)
    with pytest.raises(KeyError, match=r"^loss is not found.*is: hub, which has train/loss"):
        hub.get_scalar("loss")


def test_there_is_always_a_current_hub() -> None:
    assert MessageHub.get_current_instance().instance_name == "mmengine"
    hub = MessageHub.get_instance("run")
    assert MessageHub.get_current_instance() is hub


def fill(hub: MessageHub) -> None:
    for k in range(3):
        hub.update_scalar("train/loss", 0.1 * k)
        hub.update_scalar("train/n", k, count=2)
        hub.update_scalar("val/time", 1.0, resumed=False)
    hub.update_info_dict(
        {
            "iter": np.int64(3),
            "best": np.float32(0.5),
            "metainfo": {"classes": ("a", "b"), "sigmas": np.array([0.1, 0.2], np.float32)},
            "cfg": OrderedDict(a=[1, None, {2}]),
            "tensor": torch.arange(2),
            "palette": np.array(["red"]),
        }
    )
    hub.update_info("live", object(), resumed=False)


def test_state_is_plain_and_comes_back(hub: MessageHub) -> None:
    fill(hub)
    file = io.BytesIO()
    torch.save(hub.state_dict(), file)
    state = torch.load(io.BytesIO(file.getvalue()), weights_only=True)
    assert set(state) == {"log_scalars", "runtime_info", "resumed_keys", "arrays"}
    assert set(MessageHub("empty").state_dict()) == set(state) - {"arrays"}
    assert torch.is_tensor(state["runtime_info"]["metainfo"]["sigmas"])  # what MMEngine reads
    other = MessageHub("other")
    other.load_state_dict(state)
    for key in ("train/loss", "train/n"):
        mine, theirs = hub.get_scalar(key).data, other.get_scalar(key).data
        assert [a.tolist() for a in mine] == [a.tolist() for a in theirs]
        assert [a.dtype for a in mine] == [a.dtype for a in theirs]
    assert "val/time" not in other.log_scalars
    assert other.get_info("iter") == 3
    metainfo = other.get_info("metainfo")
    assert metainfo["classes"] == ("a", "b")
    assert metainfo["sigmas"].dtype == np.float32
    assert metainfo["sigmas"].tolist() == hub.get_info("metainfo")["sigmas"].tolist()
    assert other.get_info("cfg") == OrderedDict(a=[1, None, {2}])
    assert torch.equal(other.get_info("tensor"), torch.arange(2))
    assert other.get_info("palette").tolist() == ["red"]
    assert "live" not in other.runtime_info
    other.update_scalar("train/loss", 1.0)
    assert len(other.get_scalar("train/loss").data[0]) == 4
    assert len(hub.get_scalar("train/loss").data[0]) == 3


def test_what_is_not_plain_is_left_out_and_told(hub: MessageHub, capsys) -> None:
    hub.update_info("live", {"deep": [object()]})
    assert hub.state_dict()["runtime_info"] == {}
    assert "live in message_hub is not saved: it holds a builtins.object" in capsys.readouterr().out


def test_buffers_of_mmengine_are_taken_over(hub: MessageHub, capsys) -> None:
    foreign = SimpleNamespace(
        _log_history=np.array([1.0, 2.0]), _count_history=np.array([1, 3]), max_length=2
    )
    hub.load_state_dict(
        {
            "log_scalars": {"a": foreign, "old": 5},
            "runtime_info": {"iter": 1},
            "resumed_keys": {"a": True, "old": True, "iter": False, "gone": True},
        }
    )
    assert isinstance(hub.get_scalar("a"), HistoryBuffer)
    hub.update_scalar("a", 4.0)
    assert hub.get_scalar("a").data[0].tolist() == [2.0, 4.0]
    assert hub._resumed_keys == {"a": True, "iter": False}
    out = capsys.readouterr().out
    assert "old in message_hub is not HistoryBuffer, just skip resuming it." in out
    assert "Although resumed key: iter is False" in out


def test_another_hub_is_copied_whole(hub: MessageHub) -> None:
    hub.update_scalar("val/time", 1.0, resumed=False)
    hub.update_info("a", [1])
    other = MessageHub("other")
    other.load_state_dict(hub)
    hub.get_info("a").append(2)
    hub.update_scalar("val/time", 2.0, resumed=False)
    assert other.get_info("a") == [1]
    assert other.get_scalar("val/time").data[0].tolist() == [1.0]
    assert other._resumed_keys == {"val/time": False, "a": True}


@pytest.mark.gpu
def test_a_statistic_of_one_scalar_fetches_all_at_once(hub: MessageHub) -> None:
    loss = torch.tensor(0.1, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(10):
            hub.update_scalars({"a": loss, "b": loss * 2})
            loss += 0.1
    finally:
        torch.cuda.set_sync_debug_mode("default")
    expected = torch.tensor(0.1)
    assert hub.get_scalar("a").data[0][0] == expected.item()
    assert hub.get_scalar("b")._waiting == []
