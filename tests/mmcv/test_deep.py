"""Deep module paths of MMCV 1.x, and the members that its hooks have for their subclasses."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mm2pl.mmcv.deep import DEEP
from mm2pl.mmcv.runner import (
    HOOKS,
    EpochBasedRunner,
    GradientCumulativeFp16OptimizerHook,
    Hook,
    MomentumUpdaterHook,
    StepMomentumUpdaterHook,
    TextLoggerHook,
    obj_from_dict,
)
from mm2pl.mmcv.runner.fp16_utils import cast_tensor_type


@pytest.mark.parametrize("name", ["Pavi", "Segmind", "Neptune", "Dvclive"])
def test_a_service_that_is_not_served_is_told_at_use(name):
    with pytest.raises(ValueError, match=f"{name}LoggerHook logs to a service .* → "):
        HOOKS.build({"type": f"{name}LoggerHook", "interval": 1})


@pytest.mark.parametrize("module", DEEP)
def test_every_name_of_every_deep_module(module):
    found = import_module(f"mm2pl.mmcv.{module}")
    assert {name: getattr(found, name, None) is not None for name in DEEP[module]} == dict.fromkeys(
        DEEP[module], True
    )
    assert dir(found) == sorted(DEEP[module])


LINES = [
    "from mm2pl.mmcv.runner.base_module import BaseModule",
    "from mm2pl.mmcv.runner.optimizer.builder import OPTIMIZERS",
    "from mm2pl.mmcv.runner.optimizer import OPTIMIZERS, OPTIMIZER_BUILDERS",
    "from mm2pl.mmcv.runner.hooks.hook import HOOKS, Hook",
    "from mm2pl.mmcv.runner.hooks import StepLrUpdaterHook",
    "from mm2pl.mmcv.runner.hooks.lr_updater import annealing_cos, LrUpdaterHook",
    "from mm2pl.mmcv.runner.hooks.logger.text import TextLoggerHook",
    "from mm2pl.mmcv.runner.checkpoint import load_from_http, get_torchvision_models",
    "from mm2pl.mmcv.parallel.data_container import DataContainer",
    "from mm2pl.mmcv.parallel.collate import collate",
    "import mm2pl.mmcv.parallel.collate; from mm2pl.mmcv.parallel import collate; collate([1])",
    "import mm2pl.mmcv.runner.base_module; mm2pl.mmcv.runner.base_module.BaseModule",
    "from mm2pl.mmcv.utils.registry import build_from_cfg",
    "from mm2pl.mmcv.fileio.file_client import FileClient",
    "from mm2pl.mmcv.cnn.utils.weight_init import trunc_normal_",
    "from mm2pl.mmcv.engine.test import single_gpu_test",
]

ALONE = """
import os, sys, traceback
import torch, lightning.pytorch, mm2pl.runner  # what takes its time
for line in sys.stdin.read().splitlines():
    child = os.fork()
    if not child:
        try:
            assert not any(name.startswith("mm2pl.mmcv") for name in sys.modules)
            exec(line, {})
        except BaseException:
            print(line, traceback.format_exc().splitlines()[-1], flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_each_import_alone():
    """In a process of its own each, without what others have loaded."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", ALONE],
        input="\n".join([*LINES, "from mm2pl.mmcv.runner.base_module import Runner"]),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [
        "from mm2pl.mmcv.runner.base_module import Runner ImportError: cannot import name 'Runner' from "
        "'mm2pl.mmcv.runner.base_module' (unknown location)"
    ]


class Momentum(MomentumUpdaterHook):
    """A hook that changes what its base found, as 1.x' own warm-ups do."""

    def get_momentum(self, runner, base_momentum):
        return base_momentum / 2

    def get_regular_momentum(self, runner):
        return [value + 0.01 for value in super().get_regular_momentum(runner)]

    def get_warmup_momentum(self, cur_iters):
        return [value + 0.1 for value in super().get_warmup_momentum(cur_iters)]

    def _set_momentum(self, runner, momentum_groups):
        self.written = momentum_groups
        super()._set_momentum(runner, momentum_groups)


def test_overridden_members_of_the_momentum_act():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.8)
    runner = SimpleNamespace(optimizer=optimizer, iter=0, epoch=0)
    hook = Momentum(warmup="constant", warmup_iters=1, warmup_ratio=0.5)
    hook.before_run(runner)
    hook.before_train_epoch(runner)
    assert hook.base_momentum == [0.8]
    assert hook.regular_momentum == hook.written == [0.8 / 2 + 0.01]
    hook.before_train_iter(runner)
    assert optimizer.param_groups[0]["momentum"] == (0.8 / 2 + 0.01) / 0.5 + 0.1
    assert issubclass(StepMomentumUpdaterHook, MomentumUpdaterHook)


def test_members_of_half_precision_and_accumulation():
    hook = GradientCumulativeFp16OptimizerHook(cumulative_iters=4)
    model, copy = nn.Linear(1, 2), nn.Linear(1, 2)
    model.weight.grad = torch.tensor([[1.0], [2.0]])
    hook.copy_grads_to_fp32(model, list(copy.parameters()))
    assert torch.equal(copy.weight.grad, model.weight.grad)
    assert copy.bias.grad is None
    hook.copy_params_to_fp16(model, list(copy.parameters()))
    assert torch.equal(model.weight, copy.weight)
    assert [hook.has_batch_norm(m) for m in (model, nn.Sequential(nn.BatchNorm1d(1)))] == [
        False,
        True,
    ]
    hook._init(SimpleNamespace(iter=0, max_iters=10))
    factors = [hook._get_loss_factor(SimpleNamespace(iter=i)) for i in (0, 7, 8, 9)]
    assert factors == [4, 4, 2, 2]


def test_a_text_logger_may_measure_memory_itself(monkeypatch):
    class Logger(TextLoggerHook):
        def _get_max_memory(self, runner):
            return 7

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    hook = Logger()
    assert hook._round_float([1.123456789, "x"]) == [1.12346, "x"]
    shown = []
    monkeypatch.setattr(hook, "_log_info", lambda values, runner: shown.append(values["memory"]))
    monkeypatch.setattr(hook, "_dump_log", lambda values, runner: None)
    hook.log(
        SimpleNamespace(
            log_buffer=SimpleNamespace(output={"time": 1.0, "data_time": 0.1}),
            mode="train", epoch=0, iter=0, inner_iter=0, current_lr=lambda: [0.1],
        )
    )  # fmt: skip
    assert shown == [7]


class OldEvalHook(Hook):
    """As toolboxes for MMCV <= 1.3 had it: it clears the buffer, and runs with priority NORMAL."""

    def after_train_iter(self, runner):
        if self.every_n_iters(runner, 2):
            runner.log_buffer.clear()
            runner.log_buffer.output["accuracy"] = 0.5
            runner.log_buffer.ready = True


def test_an_evaluation_hook_of_before_1_3(tmp_path):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))

        def train_step(self, data, optimizer, **kwargs):
            loss = self.weight.sum()
            return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 1}

    from mm2pl.mmcv.utils import get_logger

    model = Model()
    runner = EpochBasedRunner(
        model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        work_dir=str(tmp_path),
        logger=get_logger(f"old_{tmp_path.name}"),
        max_epochs=1,
    )
    runner.register_training_hooks(
        {"policy": "fixed"},
        {"grad_clip": None},
        None,
        {"interval": 1, "hooks": [{"type": "TextLoggerHook"}]},
    )
    runner.register_hook(OldEvalHook())
    runner.run([torch.utils.data.DataLoader([1, 2, 3, 4])], [("train", 1)])
    lines = next(Path(tmp_path).glob("*.log.json")).read_text().splitlines()
    assert [('"mode": "val"' in line, "accuracy" in line) for line in lines if "mode" in line] == [
        (False, False), (True, True), (False, False), (True, True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("info", "parent", "expected"),
    [
        ({"type": "Linear", "in_features": 2}, nn, nn.Linear),
        ({"type": nn.Linear, "in_features": 2}, None, nn.Linear),
    ],
)
def test_obj_from_dict(info, parent, expected):
    made = obj_from_dict(info, parent, {"in_features": 5, "out_features": 3})
    assert isinstance(made, expected)
    assert (made.in_features, made.out_features) == (2, 3)
    assert "type" in info


@pytest.mark.parametrize("info", [{"type": "Linear"}, {"type": "Missing"}, {}])
def test_obj_from_dict_without_a_class(info):
    with pytest.raises(TypeError, match=r"type=.* → a class, or the name of one in"):
        obj_from_dict(info, None if info.get("type") == "Linear" else nn)


def test_hooks_of_deep_modules_are_those_of_the_registry():
    assert import_module("mm2pl.mmcv.runner.hooks.hook").HOOKS is HOOKS


def test_cast_tensor_type():
    half = torch.ones(1, dtype=torch.float16)
    inputs = {"a": [half, (torch.ones(1, dtype=torch.int64), "x")], "b": torch.ones(1)}
    cast = cast_tensor_type(inputs, torch.float16, torch.float64)
    assert [cast["a"][0].dtype, cast["a"][1][0].dtype, cast["b"].dtype] == [
        torch.float64, torch.int64, torch.float32,
    ]  # fmt: skip
    assert (cast["a"][1][1], half.dtype) == ("x", torch.float16)


@pytest.mark.parametrize(
    ("param", "expected"),
    [
        (0.5, [0.5, 0.5]),
        ([0.1, 0.2], [0.1, 0.2]),
        ({"a": [1, 2], "b": 3}, [1, 2]),
        ([0.1], r"1 values \[0.1\] for the 2 param groups of a"),
        ({"b": [1]}, r"no values for the optimizer 'a', only for \['b'\]"),
    ],
)
def test_values_of_param_groups(param, expected):
    from mm2pl.mmcv.runner.hooks.updater import format_param

    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": p} for p in parameters], lr=1)
    if isinstance(expected, list):
        assert format_param("a", optimizer, param) == expected
    else:
        with pytest.raises((ValueError, KeyError), match=expected):
            format_param("a", optimizer, param)
