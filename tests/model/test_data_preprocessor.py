"""Batches on their way to the model."""

from __future__ import annotations

import copy
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mm2pl.model import BaseDataPreprocessor, ImgDataPreprocessor
from mm2pl.registry import MODELS
from mm2pl.structures import BaseDataElement

Pair = namedtuple("Pair", "img label")
X = torch.ones(2)


@pytest.mark.parametrize(
    ("data", "pick"),
    [
        (X, lambda d: d),
        ([X, 3], lambda d: d[0]),
        ((X,), lambda d: d[0]),
        (Pair(X, 1), lambda d: d.img),
        ({"a": [{"b": X}]}, lambda d: d["a"][0]["b"]),
        (BaseDataElement(x=X), lambda d: d.x),
    ],
    ids=["tensor", "list", "tuple", "named tuple", "nested", "data element"],
)
def test_tensors_move_and_containers_stay(data, pick):
    moved = BaseDataPreprocessor().to("meta")(data)
    assert type(moved) is type(data)
    assert pick(moved).device.type == "meta"


@pytest.mark.parametrize("data", ["a", b"a", None, 3, {1, 2}], ids=repr)
def test_other_things_stay(data):
    assert BaseDataPreprocessor().cast_data(data) is data


MOVES = {
    "itself": lambda p: p.to("meta"),
    "a parent": lambda p: nn.Sequential(nn.Sequential(p)).to("meta"),
    "apply": lambda p: nn.Sequential(p)._apply(lambda t: t.to("meta")),
    "its copy": lambda p: copy.deepcopy(p.to("meta")),
    "MMEngine's name": lambda p: setattr(p, "_device", torch.device("meta")),
}


@pytest.mark.parametrize("move", MOVES.values(), ids=MOVES)
def test_the_device_is_right_after_any_move(move):
    preprocessor = ImgDataPreprocessor(mean=[1], std=[1])
    moved = (
        move(preprocessor) if move is MOVES["its copy"] else (move(preprocessor), preprocessor)[1]
    )
    assert moved.device.type == "meta"
    assert moved._device.type == "meta"
    assert moved.cast_data(X).device.type == "meta"


@pytest.mark.parametrize("pinned", [False, True])
@pytest.mark.parametrize("non_blocking", [False, True])
def test_pinned_memory_is_copied_without_waiting(monkeypatch, pinned, non_blocking):
    waits = []

    def to(self, device, non_blocking=False):
        waits.append(not non_blocking)
        return torch.empty_like(self, device=device)

    preprocessor = BaseDataPreprocessor(non_blocking=non_blocking).to("meta")
    monkeypatch.setattr(torch.Tensor, "is_pinned", lambda self: pinned)
    monkeypatch.setattr(torch.Tensor, "to", to)
    preprocessor({"inputs": torch.zeros(2)})
    assert waits == [not (pinned or non_blocking)]


def test_nothing_of_it_is_saved():
    assert not ImgDataPreprocessor(mean=[1], std=[1]).state_dict()


def test_both_are_registered():
    assert isinstance(MODELS.build({"type": "BaseDataPreprocessor"}), BaseDataPreprocessor)
    built = MODELS.build({"type": "mmengine.ImgDataPreprocessor", "pad_size_divisor": 4})
    assert isinstance(built, ImgDataPreprocessor)


def image(channels, height, width):
    return torch.arange(channels * height * width, dtype=torch.uint8).reshape(
        channels, height, width
    )


def test_lists_of_images_are_padded_and_stacked():
    batch = ImgDataPreprocessor(pad_size_divisor=4, pad_value=9)(
        {"inputs": [image(3, 2, 5), image(3, 4, 2)]}
    )
    assert batch["inputs"].shape == (2, 3, 4, 8)
    assert batch["inputs"].dtype == torch.float32
    assert torch.equal(batch["inputs"][0, :, :2, :5], image(3, 2, 5).float())
    assert (batch["inputs"][0, :, 2:] == 9).all()
    assert (batch["inputs"][1, :, :, 2:] == 9).all()
    assert batch["data_samples"] is None


def test_one_tensor_is_padded():
    batch = ImgDataPreprocessor(pad_size_divisor=4)(
        {"inputs": image(3, 2, 5)[None], "data_samples": [1]}
    )
    assert batch["inputs"].shape == (1, 3, 4, 8)
    assert batch["data_samples"] == [1]


@pytest.mark.parametrize("stack", [list, torch.stack], ids=["list", "tensor"])
@pytest.mark.parametrize("order", ["bgr_to_rgb", "rgb_to_bgr"])
def test_channels_are_reversed_before_normalisation(stack, order):
    preprocess = ImgDataPreprocessor(mean=[1, 2, 3], std=[2, 4, 8], **{order: True})
    batch = preprocess({"inputs": stack([image(3, 1, 2)])})
    assert batch["inputs"].tolist() == [[[[1.5, 2.0]], [[0.0, 0.25]], [[-0.375, -0.25]]]]


def test_the_raw_batch_stays_as_it_is():
    raw = {"inputs": torch.ones(1, 3, 2, 2)}
    batch = ImgDataPreprocessor()(raw)
    batch["inputs"] += 1
    assert "data_samples" not in raw
    assert (raw["inputs"] == 1).all()


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"bgr_to_rgb": True, "rgb_to_bgr": True}, "set either bgr_to_rgb or rgb_to_bgr"),
        ({"mean": [1]}, r"should be both given or both None, but got \[1\] and None"),
        ({"mean": [1, 2], "std": [1]}, r"`mean` should have 1 or 3 values, .*\[1, 2\]"),
        ({"mean": [1], "std": [1] * 4}, "`std` should have 1 or 3 values"),
    ],
    ids=["both orders", "no std", "two means", "four stds"],
)
def test_wrong_arguments(kwargs, message):
    with pytest.raises(AssertionError, match=message):
        ImgDataPreprocessor(**kwargs)


COLOUR = {"mean": [1, 2, 3], "std": [1, 1, 1]}


@pytest.mark.parametrize(
    ("kwargs", "data", "error", "message"),
    [
        ({}, (X, X), TypeError, "needs a batch that is a dict with 'inputs', but got tuple"),
        ({}, {"img": X}, TypeError, r"but got \['img'\]: write a collate_fn"),
        ({}, {"inputs": "x"}, TypeError, "tensor or a sequence of tensors, but got str: 'x'"),
        ({}, {"inputs": X}, AssertionError, r"\(N, C, H, W\) .* shape \(2,\)"),
        (COLOUR, {"inputs": [image(1, 2, 2)]}, AssertionError, r"mean has 3 .* \(1, 2, 2\)"),
        (
            {"bgr_to_rgb": True},
            {"inputs": [image(1, 2, 2)]},
            AssertionError,
            "leave out bgr_to_rgb",
        ),
    ],
    ids=["tuple", "no inputs", "string", "2-dim", "gray", "gray reversed"],
)
def test_wrong_batches(kwargs, data, error, message):
    with pytest.raises(error, match=message):
        ImgDataPreprocessor(**kwargs)(data)


class MixUpDataPreprocessor(BaseDataPreprocessor):
    """The example of MMEngine's model tutorial, with its mistakes corrected."""

    def __init__(self, num_class, alpha):
        super().__init__()
        self.num_class = num_class
        self.alpha = alpha

    def forward(self, data, training=True):
        img, label = self.cast_data(data)
        if not training:
            return img, label
        scores = F.one_hot(label, self.num_class).float()
        lam, index = np.random.beta(self.alpha, self.alpha), torch.randperm(len(label))
        return lam * img + (1 - lam) * img[index], lam * scores + (1 - lam) * scores[index]


def test_a_preprocessor_may_mix_images():
    torch.manual_seed(0)
    np.random.seed(0)
    preprocess = MixUpDataPreprocessor(num_class=3, alpha=1.0)
    data = (torch.eye(4), torch.tensor([0, 1, 2, 2]))
    img, scores = preprocess(data, True)
    assert torch.allclose(img.sum(1), torch.ones(4))
    assert torch.allclose(scores.sum(1), torch.ones(4))
    assert not torch.equal(img, data[0])
    assert all(torch.equal(a, b) for a, b in zip(preprocess(data, False), data, strict=True))
