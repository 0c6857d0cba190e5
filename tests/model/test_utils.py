"""Stacking, merging, exchanging norm layers."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn

from mm2pl.model import (
    BaseDataPreprocessor,
    convert_sync_batchnorm,
    detect_anomalous_params,
    merge_dict,
    revert_sync_batchnorm,
    set_preprocessor_device,
    stack_batch,
)

META = torch.device("meta")


@pytest.mark.parametrize(
    ("shapes", "divisor", "expected"),
    [
        ([(3, 2, 5)], 1, (1, 3, 2, 5)),
        ([(3, 2, 5), (3, 4, 2)], 1, (2, 3, 4, 5)),
        ([(3, 2, 5), (3, 4, 2)], 4, (2, 3, 4, 8)),
        ([(1, 7)], 3, (1, 1, 9)),
        ([(2, 3, 4, 5), (2, 1, 1, 1)], 2, (2, 2, 4, 4, 6)),
    ],
    ids=repr,
)
def test_tensors_are_padded_at_the_end(shapes, divisor, expected):
    batch = stack_batch([torch.ones(shape) for shape in shapes], divisor, pad_value=0.5)
    assert batch.shape == expected
    for entry, shape in zip(batch, shapes, strict=True):
        inside = tuple(slice(size) for size in shape)
        assert (entry[inside] == 1).all()
        assert entry.sum() == entry.numel() * 0.5 + torch.ones(shape).sum() * 0.5


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (torch.ones(1), "tensor_list should be a list of tensors, but got tensor"),
        ([], r"tensor_list should be a list of tensors, but got \[\]"),
        ([torch.ones(1), torch.ones(1, 1)], r"as many dimensions, but got \[1, 2\]"),
    ],
    ids=["tensor", "empty", "dimensions"],
)
def test_what_cannot_be_stacked(tensors, message):
    with pytest.raises(AssertionError, match=message):
        stack_batch(tensors)


def test_dicts_are_merged_in_a_trace_too():
    class Net(nn.Module):
        def forward(self, x):
            return merge_dict({"a": x}, {"b": x + 1})

    assert fx.symbolic_trace(Net())(1) == {"a": 1, "b": 2}
    with pytest.raises(AssertionError, match="should be a dict, but got <class 'list'>"):
        merge_dict([1])


def test_unused_parameters_are_found(capsys):
    used, unused, frozen = (nn.Linear(1, 1) for _ in range(3))
    model = nn.ModuleList([used, unused, frozen.requires_grad_(False)])
    x = torch.ones(1)
    for _ in range(2000):  # deeper than Python's recursion limit
        x = used(x)
    detect_anomalous_params(x, model)
    said = "".join(capsys.readouterr())
    assert [f"{n}.weight with" in said for n in range(3)] == [False, True, False]


class Closed(nn.Module):
    """Takes no new children, as quantised modules do."""

    def __init__(self):
        super().__init__()
        self.norm = nn.SyncBatchNorm(2)
        self.closed = True

    def add_module(self, name, module):
        if getattr(self, "closed", False):
            raise RuntimeError("closed")
        super().add_module(name, module)


def norms(model):
    return [type(module).__name__ for module in model.modules() if hasattr(module, "running_mean")]


def test_norm_layers_are_exchanged_and_keep_their_parameters():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm1d(3))
    ).eval()
    before = {**dict(net.named_parameters()), **dict(net.named_buffers())}
    converted = convert_sync_batchnorm(net)
    assert converted is net
    assert norms(net) == ["SyncBatchNorm", "SyncBatchNorm"]
    reverted = revert_sync_batchnorm(net)
    assert norms(reverted) == ["_BatchNormXd", "_BatchNormXd"]
    after = {**dict(reverted.named_parameters()), **dict(reverted.named_buffers())}
    assert list(after) == list(before)
    assert all(after[name] is tensor for name, tensor in before.items())


@pytest.mark.parametrize("shape", [(2, 2), (2, 2, 3), (2, 2, 3, 3), (2, 2, 3, 3, 3)], ids=len)
def test_a_reverted_layer_takes_any_dimension(shape):
    layer = revert_sync_batchnorm(nn.SyncBatchNorm(2).eval())
    assert not layer.training
    assert layer(torch.ones(shape)).shape == shape


def test_options_are_kept():
    layer = nn.SyncBatchNorm(2, eps=0.5, momentum=0.3, affine=False, track_running_stats=False)
    layer.qconfig = "q"
    reverted = revert_sync_batchnorm(layer)
    kept = (reverted.eps, reverted.momentum, reverted.affine, reverted.track_running_stats)
    assert kept == (0.5, 0.3, False, False)
    assert reverted.qconfig == "q"
    assert reverted.weight is None


def test_a_module_that_refuses_is_left_and_told(capsys):
    model = revert_sync_batchnorm(Closed())
    assert norms(model) == ["SyncBatchNorm"]
    assert "Failed to convert SyncBatchNorm" in "".join(capsys.readouterr())


def test_an_unknown_implementation_is_told():
    with pytest.raises(ValueError, match='sync_bn should be "torch" or "mmcv", but got \'apex\''):
        convert_sync_batchnorm(nn.BatchNorm1d(1), "apex")


class Remembers(nn.Module):
    """As MMEngine's BaseDataPreprocessor does."""

    device = torch.device("cpu")

    def to(self, device):
        self.device = device
        return super().to(device)


def test_preprocessors_that_remember_a_device_are_moved():
    inner, model = nn.Module(), nn.Module()
    inner.data_preprocessor = Remembers()
    model.head, model.data_preprocessor = inner, BaseDataPreprocessor()
    model.cached = Remembers()  # no preprocessor: a module with a device of its own
    model.other = nn.Module()
    model.other.data_preprocessor = dict
    set_preprocessor_device(model.to(META), META)
    assert inner.data_preprocessor.device == model.data_preprocessor.device == META
    assert model.cached.device.type == "cpu"
