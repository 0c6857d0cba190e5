"""The rest of 1.x' runtime: what runners accept and refuse, and the names around them."""

from __future__ import annotations

import importlib
import json
import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, Dataset

from mm2pl import mmcv
from mm2pl.hooks import CheckpointHook
from mm2pl.hooks import Hook as EngineHook
from mm2pl.mmcv.engine import single_gpu_test
from mm2pl.mmcv.parallel import (
    DataContainer,
    MMDataParallel,
    MMDistributedDataParallel,
    build_ddp,
    build_dp,
    collate,
    is_module_wrapper,
    scatter,
)
from mm2pl.mmcv.runner import (
    EpochBasedRunner,
    EvalHook,
    Hook,
    IterBasedRunner,
    TextLoggerHook,
    auto_fp16,
    build_runner,
    force_fp32,
    load_checkpoint,
)
from mm2pl.mmcv.utils import get_logger, get_root_logger, print_log, setup_multi_processes


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x, return_loss=True):
        loss = (self.weight * x - 2).pow(2).mean()
        return {"loss": loss} if return_loss else list(x)

    def train_step(self, data, optimizer=None, **kwargs):
        loss = self(**data)["loss"]
        return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 2}

    val_step = train_step


class Numbers(Dataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return {"x": torch.tensor([float(index)])}


def loader():
    return DataLoader(Numbers(), batch_size=2)


def runner_of(cls=EpochBasedRunner, model=None, optimizer="sgd", **kwargs):
    model = model or Line()
    if optimizer == "sgd":
        optimizer = SGD(model.parameters(), lr=0.1)
    length = {"max_iters": 3} if issubclass(cls, IterBasedRunner) else {"max_epochs": 2}
    return cls(model, optimizer=optimizer, **{**length, **kwargs})


class Doubled(EpochBasedRunner):
    """Each batch twice: what overriding `run_iter` is for."""

    def run_iter(self, data_batch, train_mode, **kwargs):
        super().run_iter(data_batch, train_mode, **kwargs)
        super().run_iter(data_batch, train_mode, **kwargs)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: runner_of(max_iters=3), ValueError, "max_epochs=2, max_iters=3 → give only one"),
        (lambda: runner_of(model=nn.Linear(1, 1)), TypeError, "Linear has no train_step"),
        (lambda: runner_of(optimizer="adam"), TypeError, "optimizer='adam' must be a torch"),
        (lambda: runner_of(logger="log"), TypeError, "logger='log' must be"),
        (lambda: runner_of(meta=[]), TypeError, r"meta=\[\] must be a dict"),
        (lambda: runner_of(batch_processor=3), TypeError, "batch_processor=3 must be callable"),
        (lambda: runner_of(batch_processor=print), RuntimeError, "give only one of them"),
        (lambda: runner_of().register_hook(3), TypeError, "hook=3 must be a Hook"),
        (lambda: runner_of().register_lr_hook({"step": 1}), KeyError, "has no policy"),
        (lambda: runner_of().register_profiler_hook({}), NotImplementedError, "profiler='simple'"),
        (lambda: runner_of().run([], [("train", 1)]), ValueError, "one loader per flow"),
        (lambda: runner_of().run([loader()], [("trian", 1)]), ValueError, "'trian', 1"),
        (lambda: runner_of(max_epochs=None).run([loader()], [("train", 1)]), ValueError, "max_epochs=None"),
        (lambda: runner_of(optimizer=None).current_lr(), RuntimeError, "has no optimizer"),
        (lambda: EvalHook(loader(), save_best="mine"), ValueError, "Set rule='greater' or"),
        (lambda: EvalHook(loader(), save_best="acc", rule="more"), KeyError, "but got 'more'"),
        (lambda: build_runner({"type": "EpochBasedRuner", "max_epochs": 1}), KeyError, "EpochBasedRunner"),
    ],
)  # fmt: skip
def test_refused(make, error, match):
    with pytest.raises(error, match=match):
        make()


class Seen(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner):
        self.losses.append(runner.outputs["loss"].item())


def stepping(cls=EpochBasedRunner, **kwargs):
    runner = runner_of(cls, **kwargs)
    runner.register_training_hooks({"policy": "fixed"}, {"grad_clip": None})
    runner.register_hook(seen := Seen())
    return runner, seen


@pytest.mark.parametrize(
    ("cls", "end"), [(EpochBasedRunner, (2, 4)), (IterBasedRunner, (0, 3)), (Doubled, (2, 4))]
)
def test_trains(cls, end):
    runner, seen = stepping(cls)
    runner.run([loader()], [("train", 1)])
    assert (runner.epoch, runner.iter) == end
    assert len(seen.losses) == end[1]
    assert runner.model.weight.item() != 1
    assert runner.current_lr() == [0.1]
    assert runner.current_momentum() == [0]


def test_batch_processor():
    calls = []

    def process(model, data, train_mode, **kwargs):
        calls.append(train_mode)
        return {"loss": model(data["x"]).mean(), "log_vars": {}, "num_samples": 2}

    model = nn.Linear(1, 1)
    runner = runner_of(model=model, batch_processor=process)
    runner.register_training_hooks({"policy": "fixed"}, {})
    runner.run([loader(), loader()], [("train", 1), ("val", 1)])
    assert calls == [True, True, False, False] * 2


def test_hooks_of_today_in_a_1x_runner():
    class Today(EngineHook):
        seen: list

        def before_run(self, runner):
            Today.seen = []

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            Today.seen.append((batch_idx, len(data_batch["x"]), sorted(outputs)))

    runner, _ = stepping()
    runner.register_hook(Today(), priority="LOWEST")
    runner.run([loader()], [("train", 1)])
    assert Today.seen == [(i, 2, ["log_vars", "loss", "num_samples"]) for i in (0, 1)] * 2


class Two(Line):
    """A model with optimizers of its own, as GANs had."""

    def train_step(self, data, optimizer, **kwargs):
        output = super().train_step(data)
        for one in optimizer.values():
            one.zero_grad()
        output["loss"].backward()
        for one in optimizer.values():
            one.step()
        return output


def test_several_optimizers():
    model = Two()
    optimizers = {name: SGD(model.parameters(), lr=lr) for name, lr in (("a", 0.1), ("b", 0.2))}
    runner = runner_of(model=model, optimizer=optimizers)
    runner.register_lr_hook({"policy": "step", "step": [1]})
    runner.run([loader()], [("train", 1)])
    rates = {name: values[0] for name, values in runner.current_lr().items()}
    assert rates == pytest.approx({"a": 0.01, "b": 0.02})
    assert model.weight.item() != 1


def test_checkpoints_of_1x_wrappers(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"state_dict": {"module.weight": torch.tensor([3.0])}, "meta": {"epoch": 1}}, path)
    model = Line()
    load_checkpoint(model, str(path))
    assert model.weight.item() == 3
    runner = runner_of(model=MMDataParallel(Line()))
    runner.load_checkpoint(str(path))
    assert runner.model.module.weight.item() == 3


@pytest.mark.parametrize("wrap", [build_dp, build_ddp, MMDataParallel, MMDistributedDataParallel])
def test_wrappers_unpack_containers(wrap):
    arguments = {"device": "cpu"} if wrap in (build_dp, build_ddp) else {}
    model = wrap(Line(), **arguments)
    assert is_module_wrapper(model)
    batch = {"x": DataContainer([torch.tensor([2.0])], stack=True)}
    assert model.train_step(batch, None)["log_vars"] == {"loss": 0.0}
    assert model(return_loss=False, **batch) == [torch.tensor(2.0)]


def test_collate_pads_and_scatter_unpacks():
    def sample(size, name):
        return {
            "img": DataContainer(torch.ones(1, size, size), stack=True, padding_value=7),
            "name": DataContainer(name, cpu_only=True),
        }

    batch = collate([sample(1, "a"), sample(2, "b")], samples_per_gpu=2)
    (moved,) = scatter(batch, [-1])
    assert moved["img"].tolist() == [[[[1, 7], [7, 7]]], [[[1, 1], [1, 1]]]]
    assert moved["name"] == ["a", "b"]
    with pytest.raises(ValueError, match="one process computes on one device"):
        scatter(batch, [0, 1])
    with pytest.raises(ValueError, match="differ before their last"):
        collate([{"x": DataContainer(torch.ones(n, 1, 1), stack=True)} for n in (1, 2)], 2)


def test_precision_decorators_change_nothing():
    def method(self):
        return 3

    assert auto_fp16(apply_to=("img",))(method) is method
    assert force_fp32()(method) is method


def test_single_gpu_test(capsys):
    results = single_gpu_test(Line(), loader())
    assert [value.item() for value in results] == [0, 1, 2, 3]


@pytest.fixture
def loggers():
    """Take back the handlers of the loggers that a test makes."""
    yield
    for name in ("mine", "mm2pl"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            logger.removeHandler(handler)
            handler.close()


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"save_best": "mIoU"}, "greater"),
        ({"save_best": "val_loss"}, "less"),
        ({"save_best": "mine", "less_keys": "mine"}, "less"),
        ({"save_best": "val_loss", "rule": "greater"}, "greater"),
        ({"save_best": "auto"}, None),
    ],
    ids=["name", "part of a name", "own keys", "given", "auto"],
)
def test_rule_of_the_best_checkpoint(arguments, rule):
    assert EvalHook(loader(), **arguments).rule == rule
    assert EvalHook.rule_map is CheckpointHook.rule_map


def test_json_log_holds_lists(tmp_path):
    hook = TextLoggerHook()
    hook.json_log_path = tmp_path / "log.json"
    hook._dump_log({"ap": np.array([1, 2]), "lr": torch.tensor(0.5), "kind": int}, None)
    written = json.loads(hook.json_log_path.read_text())
    assert written == {"ap": [1, 2], "lr": 0.5, "kind": "<class 'int'>"}


@pytest.mark.usefixtures("loggers")
def test_loggers(tmp_path, capsys):
    logger = get_logger("mine", str(tmp_path / "a/log.txt"))
    assert get_logger("mine.child").handlers == []
    assert get_root_logger().name == "mm2pl"
    print_log("one", logger)
    print_log("two", "mine")
    print_log("three", "silent")
    print_log("four")
    text = (tmp_path / "a/log.txt").read_text()
    assert [line.split(" - ")[-1] for line in text.splitlines()] == ["one", "two"]
    assert capsys.readouterr().out == "four\n"
    with pytest.raises(TypeError, match="logger=3 must be"):
        print_log("five", 3)


def test_setup_multi_processes(monkeypatch):
    seen = []
    monkeypatch.setattr("mm2pl.mmcv.utils.setup_env", lambda *args: seen.append(args))
    setup_multi_processes({"mp_start_method": "fork", "opencv_num_threads": None, "x": 1})
    assert seen == [({"mp_cfg": {"mp_start_method": "fork"}}, "none")]


NAMES = {
    "mm2pl.mmcv": "Config DictAction mkdir_or_exist dump load Timer ProgressBar track_iter_progress",
    "mm2pl.mmcv.utils": "Config Registry build_from_cfg get_logger collect_env get_git_hash digit_version",
    "mm2pl.mmcv.parallel": "MMDataParallel MMDistributedDataParallel DataContainer collate scatter",
    "mm2pl.mmcv.engine": "single_gpu_test multi_gpu_test collect_results_cpu",
    "mm2pl.mmcv.runner": "HOOKS OPTIMIZER_BUILDERS RUNNERS DefaultOptimizerConstructor DistEvalHook EvalHook "
    "TextLoggerHook DistSamplerSeedHook Fp16OptimizerHook StepLrUpdaterHook CyclicMomentumUpdaterHook "
    "get_dist_info init_dist set_random_seed BaseModule auto_fp16 wrap_fp16_model find_latest_checkpoint",
}


@pytest.mark.parametrize(
    ("module", "name"), [(module, name) for module in NAMES for name in NAMES[module].split()]
)
def test_names_that_train_scripts_import(module, name):
    assert getattr(importlib.import_module(module), name) is not None


def test_unknown_names():
    with pytest.raises(AttributeError, match="no attribute 'imread'"):
        _ = mmcv.imread
    with pytest.raises(ImportError, match="FooHook"):
        from mm2pl.mmcv.runner import FooHook  # noqa: F401
