"""Models of 1.x under the loops of today, as the codemod writes them."""

from __future__ import annotations

import copy
import importlib
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import nn

from mm2pl.errors import ArgumentError
from mm2pl.hooks import Hook
from mm2pl.mmcv import MMCVModel, migrate_with_report
from mm2pl.mmcv.migration.decisions import Choices
from mm2pl.mmcv.model import MMCVPlainModel, _is_spent, validating_as_1x
from mm2pl.mmcv.runner import HOOKS as OLD_HOOKS
from mm2pl.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mm2pl.registry import HOOKS
from mm2pl.run.model import train_step
from mm2pl.runner import Runner

PROJECT = Path(__file__).parent / "project"
MODULES = ("model", "dataset", "configs", "hooks", "train")


class Old(nn.Module):
    """What the methods of a 1.x model do; the tests derive it from the adapter too."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1, bias=False)
        nn.init.ones_(self.fc.weight)

    def forward(self, x, return_loss=True, rescale=False):
        return self.fc(x).sum() if return_loss else [self.fc(x), rescale]

    def train_step(self, data, optimizer):
        loss = self(**data)
        return {"loss": loss, "log_vars": {"seen": loss.item()}, "num_samples": 1}

    def val_step(self, data, optimizer=None):
        return "of the val flow"


class New(Old, MMCVModel):
    pass


class Twice(New):
    def train_step(self, data, optimizer):
        outputs = super().train_step(data, optimizer)
        return {**outputs, "loss": outputs["loss"] * 2}


class Steps(New):
    def train_step(self, data, optimizer):
        optimizer.zero_grad()
        loss = self(**data)
        loss.backward()
        optimizer.step()
        return {"loss": loss, "log_vars": {"stepped": 1.0}, "num_samples": 1}


class StepsByName(New):
    def train_step(self, data, optimizer):
        self(**data).backward()
        optimizer["net"].step()
        return {"log_vars": {"stepped": 1.0}, "num_samples": 1}


class Accumulates(New):
    def train_step(self, data, optimizer):
        loss = self(**data) * 1.0
        loss.square().backward()
        return {"loss": loss, "log_vars": {"a": 1.0}, "num_samples": 1}


X = torch.tensor([[1.0, 2.0]])


def wrapper_of(model, several=False, **kwargs):
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), **kwargs)
    return OptimWrapperDict(net=wrapper) if several else wrapper


@pytest.mark.parametrize(
    ("kind", "several", "factor", "logged"),
    [
        (New, False, 1, {"seen": 3.0}),
        (Twice, False, 2, {"seen": 3.0}),
        (Steps, False, 1, {"stepped": 1.0}),
        (StepsByName, True, 1, {"stepped": 1.0}),
    ],
)
def test_one_step(kind, several, factor, logged):
    model = kind()
    assert model.train_step({"x": X}, optim_wrapper=wrapper_of(model, several)) == logged
    assert torch.equal(model.fc.weight, torch.ones(1, 2) - 0.1 * factor * X)


def test_accumulation_is_the_wrappers():
    model = New()
    wrapper = wrapper_of(model, accumulative_counts=2)
    for expected in (torch.ones(1, 2), torch.ones(1, 2) - 0.1 * X):
        model.train_step({"x": X}, optim_wrapper=wrapper)
        assert torch.equal(model.fc.weight, expected)


@pytest.mark.parametrize(
    "loss",
    [
        lambda x: (x**2).mean(),
        lambda x: x.abs().mean(),
        lambda x: (x * x).sum(),
        lambda x: nn.functional.cross_entropy(x, torch.tensor([0, 1]), reduction="none").mean(),
    ],
    ids=["square", "abs", "product", "cross entropy"],
)
def test_whether_backward_was_run(loss):
    value = loss(torch.rand(2, 3, requires_grad=True) + 1)
    assert not _is_spent(value)
    value.backward()
    assert _is_spent(value)


def test_a_model_that_accumulates_is_left_alone():
    model = Accumulates()
    for times in (1, 2):
        model.train_step({"x": X}, optim_wrapper=wrapper_of(model))
        assert torch.equal(model.fc.weight.grad, 6 * times * X)
    assert torch.equal(model.fc.weight, torch.ones(1, 2))


@pytest.mark.parametrize("kind", [Steps, New])
def test_amp_with_a_step_of_its_own(kind):
    model = kind()
    wrapper = AmpOptimWrapper(dtype="bfloat16", optimizer=wrapper_of(model).optimizer)
    if kind is New:  # which leaves it to the wrapper
        model.train_step({"x": X}, optim_wrapper=wrapper)
        assert torch.equal(model.fc.weight, torch.ones(1, 2) - 0.1 * X)
        return
    with pytest.raises(ArgumentError, match=r"has called backward and optimizer.step\(\) itself"):
        model.train_step({"x": X}, optim_wrapper=wrapper)
    assert "step" not in vars(wrapper)


class OwnMode(MMCVModel):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(2, 1)

    def forward(self, x, mode="train", **kwargs):
        return self(x, mode="extract").sum() if mode == "train" else f"{mode} {kwargs}"

    def train_step(self, data, optimizer):
        return {"loss": self(**data).sum(), "log_vars": {}, "num_samples": 1}


class HandsOn(OwnMode):
    test_arguments: ClassVar = {"mode": "test", "a": 1}

    def forward(self, x, **kwargs):
        if kwargs.get("mode") == "extract":
            return self.fc(x)
        return super().forward(x, **kwargs)


def test_a_mode_of_its_own():
    model = HandsOn()
    before = model.fc.bias.item()
    model.train_step({"x": X}, optim_wrapper=wrapper_of(model))
    assert model.fc.bias.item() == pytest.approx(before - 0.1)
    assert model.val_step({"x": X}) == "test {'a': 1}"
    with pytest.raises(ArgumentError, match=r"test_arguments = dict\(mode='test'\) in OwnMode"):
        OwnMode().test_step({"x": X})


class Backbone(nn.Linear):
    def init_weights(self, pretrained=None):
        nn.init.zeros_(self.weight)


class Loaded(MMCVPlainModel):
    def __init__(self):
        super().__init__()
        self.net, self.calls = Backbone(1, 1), []
        nn.init.ones_(self.net.weight)

    def forward(self, x, return_loss=True):
        return x


class Initialises(Loaded):
    def init_weights(self, pretrained=None):
        self.calls.append(pretrained)


class InInit(Initialises):
    def __init__(self):
        super().__init__()
        self.init_weights()
        self.init_weights("again")


class Needs(Loaded):
    def init_weights(self, pretrained):
        self.calls.append(pretrained)


@pytest.mark.parametrize(
    ("kind", "calls"),
    [(Loaded, []), (Initialises, [None]), (InInit, [None, "again"]), (Needs, [])],
)
def test_weights_of_a_former_module_are_its_own(kind, calls):
    model = kind()
    model.init_weights()
    assert (model.net.weight.item(), model.calls) == (1.0, calls)
    if calls != []:
        model.init_weights("path")
        assert model.calls == [*calls, "path"]


def test_the_ways_of_1x_stay():
    model = Twice()
    assert model.train_step({"x": X}, None)["loss"].item() == 6
    assert model.val_step({"x": X}, None) == "of the val flow"
    with validating_as_1x():
        assert model.val_step({"x": X}) == "of the val flow"
    assert model(X).item() == 3


class Sample(New):
    test_arguments: ClassVar = {"rescale": True}

    def forward_dummy(self, x):
        return "raw"


class Restorer(MMCVModel):
    def forward(self, x, test_mode=False):
        return {"psnr": x} if test_mode else {"loss": x}


def test_modes():
    model = Sample()
    prediction, rescale = model.val_step({"x": X})
    assert (prediction.item(), rescale) == (3.0, True)
    assert model.test_step({"x": X})[0].item() == 3.0
    assert model(X, mode="loss").item() == 3.0
    assert model(x=X, mode="tensor") == "raw"
    assert Restorer()(1, mode="loss") == {"loss": 1}
    assert Restorer().test_step({"x": 2}) == [{"psnr": 2}]


class Silent(New):
    def train_step(self, data, optimizer):
        return {"log_vars": {}}


class Bare(New):
    def train_step(self, data, optimizer):
        return 1.0


class Plain(MMCVModel):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Silent().train_step({}, optim_wrapper=wrapper_of(New())), "returned no 'loss'"),
        (lambda: Bare().train_step({}, optim_wrapper=wrapper_of(New())), "returned float → MMCV"),
        (
            lambda: New().train_step({"x": X}, optim_wrapper=wrapper_of(New(), several=True)),
            r"call backward and optimizer\[name\]",
        ),
        (lambda: Plain()(X, mode="predict"), "neither return_loss nor test_mode"),
        (lambda: New()(X, mode="tensor"), "give New a forward_dummy"),
        (lambda: New()(X, mode="all"), "one of 'loss', 'predict', 'tensor'"),
        (
            lambda: train_step(Old(), {"x": X}, wrapper_of(New())),
            r"Old\.train_step\(data, optimizer\) is called .* derive the model from mm2pl.mmcv.MMCVModel",
        ),
    ],
    ids=["silent", "no-dict", "several", "no-modes", "no-dummy", "no-mode", "not-adapted"],
)
def test_one_message(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


class Wrong(nn.Module):
    def train_step(self, data, optim_wrapper):
        return len(1)


class WrongOf1x(New):
    def train_step(self, data, optimizer):
        return len(1)


@pytest.mark.parametrize("kind", [Wrong, WrongOf1x])
def test_an_error_inside_of_a_step_is_the_users(kind):
    with pytest.raises(TypeError, match="object of type 'int' has no len"):
        train_step(kind(), {}, wrapper_of(New()))


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """Return the 1.x project under mm2pl.mmcv's runners, and its model and data as the codemod rewrites them."""
    pytest.importorskip("libcst")
    from mm2pl.mmcv.codemod import migrate_code

    before = {name: sys.modules.pop(name, None) for name in MODULES}
    loaded = []
    for side in ("stripes_old", "stripes_new"):
        folder = shutil.copytree(PROJECT, tmp_path / side)
        if side == "stripes_old":
            for path in folder.glob("*.py"):
                text = path.read_text().replace("import mmcv\n", "import mm2pl.mmcv as mmcv\n")
                path.write_text(text.replace("from mmcv", "from mm2pl.mmcv"))
        else:
            migrate_code(folder, write=True)
        monkeypatch.syspath_prepend(str(folder))
        names = MODULES if side == "stripes_old" else ("model", "dataset")
        loaded.append({name: importlib.import_module(name) for name in names})
        for name in MODULES:
            sys.modules.pop(name, None)
        monkeypatch.undo()
    yield loaded
    sys.modules.update({name: module for name, module in before.items() if module is not None})


class Losses(Hook):
    def before_run(self, runner):
        Losses.seen, Losses.rates = [], []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.rates += runner.optim_wrapper.get_lr()["lr"]

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(outputs["loss"])


CHANGES = {
    "epochs": {},
    "accumulated": {
        "optimizer_config": {"type": "GradientCumulativeOptimizerHook", "cumulative_iters": 4}
    },
    "iterations": {
        "optimizer_config": {"grad_clip": {"max_norm": 0.5}},
        "runner": {"type": "IterBasedRunner", "max_iters": 14},
        "lr_config": {"policy": "poly", "power": 0.9, "min_lr": 1e-3},
    },
}


@pytest.mark.parametrize("name", CHANGES)
def test_migrated_code_and_config_train_as_before(sides, tmp_path, name):
    """Bit for bit; without shuffling, noise and dropout, which draw random numbers in another order."""
    old, new = sides
    by_iteration = "runner" in CHANGES[name]
    # By iterations an InfiniteSampler goes on over the end of the data, which MMCV's runner does in a smaller batch.
    still = {"type": "Stripes", "size": 20 if by_iteration else 22, "test_mode": True}
    cfg = {
        **copy.deepcopy(old["configs"].BASE),
        "model": {"type": "Classifier", "dropout": 0.0},
        "evaluation": {"interval": 1 if not by_iteration else 7, "metric": "accuracy"},
        **CHANGES[name],
    }
    cfg["data"] = {
        "samples_per_gpu": 4,
        "workers_per_gpu": 0,
        "train": still,
        "val": {**still, "size": 10, "seed": 1},
    }
    build = old["train"].build_dataloader
    old["train"].build_dataloader = lambda *args, shuffle=True: build(*args, shuffle=False)
    OLD_HOOKS.register_module(module=old["hooks"].RecordHook, force=True)
    HOOKS.register_module(module=Losses)
    weights = tmp_path / "weights.pth"
    torch.save(new["model"].Classifier(dropout=0.0).state_dict(), weights)
    old["model"].Classifier.init_weights = lambda self: self.load_state_dict(torch.load(weights))
    expected = old["train"].train(copy.deepcopy(cfg), str(tmp_path / "old"))

    cfg.pop("custom_hooks")
    migrated = migrate_with_report(
        cfg, Choices(scope="stripes_new", toolbox="none", evaluator="own")
    ).config
    migrated["train_dataloader"]["sampler"]["shuffle"] = False
    migrated |= {
        "load_from": str(weights),
        "custom_hooks": [{"type": "Losses"}],
        "work_dir": str(tmp_path / "new"),
    }
    runner = Runner.from_cfg(migrated)
    runner.train()
    assert [float(v).hex() for v in Losses.seen] == [float(v).hex() for v in expected["losses"]]
    assert Losses.rates == pytest.approx(expected["lrs"], rel=1e-12)
