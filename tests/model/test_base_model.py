"""The three modes, the three steps, and what is told when they do not fit."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn

from mm2pl.model import BaseDataPreprocessor, BaseModel
from mm2pl.optim import OptimWrapper


class Line(BaseModel):
    """One slope; what each mode returns can be replaced."""

    def __init__(self, results=None, **kwargs):
        super().__init__(**kwargs)
        self.slope = nn.Parameter(torch.tensor(2.0))
        self.results = results

    def forward(self, x, y=None, mode="tensor"):
        if self.results is not None:
            return self.results[mode]
        if mode == "loss":
            return {"loss": (self.slope * x - y) ** 2, "acc": x.mean()}
        return [mode, self.slope * x, y]


class Recorder:
    """Stands where an optimizer wrapper does."""

    def __init__(self):
        self.calls = []

    def optim_context(self, model):
        self.calls.append(("context", model))
        return nullcontext()

    def update_params(self, loss):
        self.calls.append(("update", loss.item()))


X, Y = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 1.0])
BATCHES = [(X, Y), [X, Y], {"x": X, "y": Y}]


@pytest.mark.parametrize("batch", BATCHES, ids=["tuple", "list", "dict"])
def test_train_step_updates_and_returns_what_to_log(batch):
    model, wrapper = Line(), Recorder()
    log_vars = model.train_step(batch, wrapper)
    assert wrapper.calls == [("context", model), ("update", 6.5)]
    assert {name: value.item() for name, value in log_vars.items()} == {"loss": 6.5, "acc": 1.5}
    assert next(iter(log_vars)) == "loss"


@pytest.mark.parametrize("batch", BATCHES, ids=["tuple", "list", "dict"])
@pytest.mark.parametrize("step", ["val_step", "test_step"])
def test_evaluation_steps_predict(batch, step):
    mode, prediction, target = getattr(Line(), step)(batch)
    assert mode == "predict"
    assert torch.equal(prediction, 2 * X)
    assert torch.equal(target, Y)


def test_training_reaches_the_preprocessor():
    seen = []

    class Preprocessor(nn.Module):
        def forward(self, data, training=False):
            seen.append(training)
            return data

    model = Line(data_preprocessor=Preprocessor())
    model.train_step(BATCHES[0], Recorder())
    model.val_step(BATCHES[0])
    model.test_step(BATCHES[0])
    assert seen == [True, False, False]


@pytest.mark.parametrize(
    ("given", "kind"),
    [(None, BaseDataPreprocessor), ({"type": "ImgDataPreprocessor"}, BaseDataPreprocessor)],
    ids=["default", "dict"],
)
def test_the_preprocessor_is_built(given, kind):
    assert isinstance(Line(data_preprocessor=given).data_preprocessor, kind)


def test_a_preprocessor_module_is_kept():
    module = nn.Identity()
    assert Line(data_preprocessor=module).data_preprocessor is module


def test_a_preprocessor_of_another_type_is_told():
    with pytest.raises(TypeError, match=r"data_preprocessor should be a dict, .*but got 'img'"):
        Line(data_preprocessor="img")


def test_forward_must_be_written():
    with pytest.raises(TypeError, match=r"abstract method '?forward"):
        BaseModel()


T = torch.tensor


@pytest.mark.parametrize(
    ("losses", "loss", "log"),
    [
        ({"loss": T(2.0)}, 2.0, {"loss": 2.0}),
        (
            {"loss_a": T([1.0, 3.0]), "acc": T(7.0), "loss_b": T(1.0)},
            3.0,
            {"loss": 3.0, "loss_a": 2.0, "acc": 7.0, "loss_b": 1.0},
        ),
        (
            {"rpn_loss": [T(1.0), T([2.0, 4.0])], "iou": [T(1.0), T(2.0)]},
            4.0,
            {"loss": 4.0, "rpn_loss": 4.0, "iou": 3.0},
        ),
        # MMEngine 0.10.7: a value called `loss` stands in the log, the sum does not
        ({"aux_loss": T(1.0), "loss": T(2.0)}, 3.0, {"loss": 2.0, "aux_loss": 1.0}),
        ({"loss": T(2.0), "loss_none": []}, 2.0, {"loss": 2.0, "loss_none": 0}),
        ({"acc": T(3.0)}, 0, {"loss": 0, "acc": 3.0}),
        ({}, 0, {"loss": 0}),
    ],
    ids=["one", "several", "lists", "own loss", "empty list", "no loss", "nothing"],
)
def test_losses_are_summed_and_averaged(losses, loss, log):
    total, log_vars = Line().parse_losses(losses)
    assert float(total) == loss
    assert [(name, float(value)) for name, value in log_vars.items()] == list(log.items())


def test_the_graph_is_kept():
    model = Line()
    loss, _ = model.parse_losses(model(X, Y, mode="loss"))
    loss.backward()
    assert model.slope.grad.item() == pytest.approx((2 * 2 * 1 + 2 * 3 * 2) / 2)


def test_a_buffer_is_logged_as_it_was():
    count = torch.tensor(1.0)
    _, log_vars = Line().parse_losses({"loss": torch.tensor(1.0), "count": count})
    count += 1
    assert log_vars["count"].item() == 1.0


@pytest.mark.parametrize(
    ("losses", "error", "message"),
    [
        (None, TypeError, r"Line.forward\(mode='loss'\) returned None: is there a branch for"),
        (T(1.0), TypeError, r"returned Tensor: a dict is needed that maps names to tensors"),
        ([T(1.0)], TypeError, "returned list: a dict is needed"),
        ({"acc": T(1.0)}, ValueError, r"loss=0 .* to minimise → .* must have 'loss' in its name"),
        ({}, ValueError, "loss=0 is nothing to minimise"),
        ({"loss": []}, ValueError, "loss=0 is nothing to minimise"),
        ({"loss": 1.0}, TypeError, "loss is not a tensor or list of tensors but float, .*wrap"),
        ({"loss": (T(1.0),)}, TypeError, "loss is not a tensor or list of tensors but tuple"),
        ({"loss": [T(1.0), 2]}, TypeError, "loss is not a tensor or list of tensors but list"),
        ({"loss": T(1.0), "hits": T(3)}, TypeError, "hits has dtype torch.int64, .*call .float"),
    ],
    ids=["None", "tensor", "list", "no loss", "empty", "no part", "float", "tuple", "mixed", "int"],
)
def test_wrong_losses_are_told(losses, error, message):
    model = Line(results={"loss": losses})
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(error, match=message):
        model.train_step((X, Y), wrapper)


def test_a_missing_branch_for_predictions_is_told():
    with pytest.raises(TypeError, match=r"Line.forward\(mode='predict'\) returned None: is there"):
        Line(results={"predict": None}).val_step((X, Y))


class NoMode(BaseModel):
    def forward(self, x, y):
        return {"loss": x.mean()}


class Inner(BaseModel):
    def forward(self, x, y, mode):
        return torch.zeros(1, nothing=3)


@pytest.mark.parametrize(
    ("model", "batch", "message"),
    [
        (NoMode(), (X, Y), r"NoMode.forward\(x, y\) was called as forward\(Tensor, Tensor, mode"),
        (
            Line(),
            (X, Y, X, X),
            r"Line.forward\(x, y=None, mode='tensor'\) .*multiple values for argument 'mode'",
        ),
        (Line(), {"img": X}, r"called as forward\(img=..., mode=...\), but .*'x'"),
        (Line(), {"x": X, "mode": 1}, "the batch has a key 'mode'"),
        (Line(), X, "should be list, tuple or dict, but got <class 'torch.Tensor'>"),
        (Inner(), (X, Y), r"zeros\(\) received an invalid combination|nothing"),
    ],
    ids=["no mode", "too many", "other names", "mode in batch", "tensor", "error inside"],
)
def test_a_forward_that_does_not_fit_is_told(model, batch, message):
    with pytest.raises(TypeError, match=message):
        model.val_step(batch)


class Frozen(BaseModel):
    """What toolboxes' backbones do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(1), nn.BatchNorm1d(1))

    def train(self, mode=True):
        super().train(mode)
        self.layers[0].eval()
        return self

    def forward(self, x, mode):
        return self.layers(x)


def test_train_can_be_overridden():
    assert [layer.training for layer in Frozen().train().layers] == [False, True]


def test_moving_a_parent_moves_the_batches_too():
    model = Line()
    nn.ModuleList([nn.ModuleDict({"model": model})]).to("meta")
    assert model.data_preprocessor({"x": X})["x"].device.type == "meta"


def test_the_state_dict_holds_the_parameters_only():
    assert list(Line(data_preprocessor={"type": "ImgDataPreprocessor"}).state_dict()) == ["slope"]
