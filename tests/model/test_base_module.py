"""Who initialises what, in which order, and what the log says about it."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from mm2pl.logging import MMLogger
from mm2pl.model import BaseModule, ModuleDict, ModuleList, Sequential, update_init_info

CONSTANT = {"type": "Constant", "layer": "Linear"}


class Head(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.fc = nn.Linear(1, 1)


class Net(BaseModule):
    def __init__(self, init_cfg=None, head_cfg=None):
        super().__init__(init_cfg)
        self.stem = nn.Linear(1, 1)
        self.head = Head(head_cfg)


class ByHand(Head):
    def init_weights(self):
        super().init_weights()
        nn.init.constant_(self.fc.weight, 42)


def weights(net):
    return [net.stem.weight.item(), net.head.fc.weight.item()]


@pytest.mark.parametrize(
    ("outer", "inner", "expected"),
    [
        ({**CONSTANT, "val": 1}, None, [1, 1]),
        ({**CONSTANT, "val": 1}, {**CONSTANT, "val": 2}, [1, 2]),
        ([{**CONSTANT, "val": 1}, {**CONSTANT, "val": 3}], {**CONSTANT, "val": 2}, [3, 2]),
    ],
    ids=["outer only", "the inner wins", "the last of a list wins"],
)
def test_children_come_after_their_parent(outer, inner, expected):
    net = Net(outer, inner)
    net.init_weights()
    assert weights(net) == expected


def test_pretrained_comes_last(tmp_path):
    path = tmp_path / "net.pth"
    torch.save({name: torch.full_like(p, 9) for name, p in Net().state_dict().items()}, path)
    pretrained = {"type": "Pretrained", "checkpoint": str(path)}
    net = Net([pretrained, {**CONSTANT, "val": 1}], {**CONSTANT, "val": 2})
    net.init_weights()
    assert weights(net) == [9, 9]


def test_a_child_that_is_initialised_is_left_alone():
    net = Net()
    net.head = ByHand()
    net.head.is_init = True
    before = weights(net)
    net.init_weights()
    assert weights(net) == before
    assert net.is_init


def test_a_wrapped_child_is_initialised():
    net = nn.Module.__new__(BaseModule)
    BaseModule.__init__(net)
    net.head = DataParallel(Head({**CONSTANT, "val": 2}))
    net.init_weights()
    assert net.head.module.fc.weight.item() == 2


def test_the_config_is_a_copy():
    cfg = {**CONSTANT, "val": 1}
    net = Net(cfg)
    cfg["val"] = 2
    assert net.init_cfg["val"] == 1


@pytest.mark.parametrize(
    ("make", "children"),
    [
        (lambda c: Sequential(nn.Linear(1, 1), nn.ReLU(), init_cfg=c), ["0", "1"]),
        (lambda c: ModuleList([nn.Linear(1, 1)], init_cfg=c), ["0"]),
        (lambda c: ModuleDict({"fc": nn.Linear(1, 1)}, init_cfg=c), ["fc"]),
        (lambda c: ModuleList(init_cfg=c), []),
        (lambda c: ModuleDict(init_cfg=c), []),
    ],
    ids=["Sequential", "ModuleList", "ModuleDict", "empty list", "empty dict"],
)
def test_containers_have_a_config_too(make, children):
    container = make({**CONSTANT, "val": 4})
    container.init_weights()
    assert [name for name, _ in container.named_children()] == children
    assert {p.item() for n, p in container.named_parameters() if "weight" in n} <= {4.0}
    assert repr(container).endswith("init_cfg={'type': 'Constant', 'layer': 'Linear', 'val': 4}")


def messages(caplog, net):
    """Return parameter → what the log says of its value."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        net.init_weights()
    finally:
        logger.removeHandler(caplog.handler)
    rows = [record.message for record in caplog.records if record.levelno == logging.INFO]
    return {row.split(" - ")[0].strip(): row.split("\n")[2].strip() for row in rows}


def test_the_log_says_where_values_come_from(caplog):
    net = Net({**CONSTANT, "val": 1, "override": {"name": "stem", "type": "Constant", "val": 3}})
    net.head = ByHand()
    assert messages(caplog, net) == {
        "stem.weight": "ConstantInit: val=3, bias=0",
        "stem.bias": "ConstantInit: val=1, bias=0",
        "head.fc.weight": "Initialized by user-defined `init_weights` in ByHand",
        "head.fc.bias": "ConstantInit: val=1, bias=0",
    }


def test_the_log_says_what_nobody_touched(caplog):
    unchanged = "The value is the same before and after calling `init_weights` of Head"
    assert messages(caplog, Head()) == {"fc.weight": unchanged, "fc.bias": unchanged}


def test_with_a_log_file_the_table_goes_there(tmp_path):
    path = tmp_path / "run.log"
    MMLogger.get_instance("init-table", log_file=str(path))
    Head({**CONSTANT, "val": 1}).init_weights()
    assert path.read_text() == (
        "Name of parameter - Initialization information\n"
        "\nfc.weight - torch.Size([1, 1]): \nConstantInit: val=1, bias=0 \n"
        "\nfc.bias - torch.Size([1]): \nConstantInit: val=1, bias=0 \n"
    )


def test_a_second_call_warns_and_changes_nothing(caplog):
    net = Net({**CONSTANT, "val": 1})
    net.init_weights()
    nn.init.constant_(net.stem.weight, 5)
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    try:
        net.init_weights()
    finally:
        logger.removeHandler(caplog.handler)
    assert "init_weights of Net has been called more than once." in caplog.messages
    assert net.stem.weight.item() == 5


class Growing(Head):
    def init_weights(self):
        self.more = nn.Linear(1, 1)
        update_init_info(self, init_info="grown")


def test_new_parameters_are_refused_and_nothing_is_left_behind():
    net = Net()
    net.head = Growing()
    with pytest.raises(AssertionError, match=r"Find a new :obj:`Parameter` named `more.weight`"):
        net.init_weights()
    assert not any(hasattr(module, "_params_init_info") for module in net.modules())
