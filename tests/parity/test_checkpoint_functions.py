"""The functions of ``mmengine.runner.checkpoint`` next to ours, and real MMEngine files read without MMEngine."""

from __future__ import annotations

import importlib
import json
import logging
import random
import subprocess
import sys
import textwrap
from collections import OrderedDict
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from mm2pl.checkpoint import model_zoo
from mm2pl.runner import checkpoint as ours
from tests.scenarios import Points, Scenario, record

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]
theirs = pytest.importorskip("mmengine.runner.checkpoint")
LOG = logging.getLogger("test_checkpoint_functions")


def tree(rng: random.Random, depth: int = 0) -> nn.Module:
    """Return a random model."""
    leaves = [
        lambda: nn.Conv2d(1, rng.choice([2, 3]), 1, bias=rng.random() < 0.5),
        lambda: nn.BatchNorm2d(2),
        lambda: nn.Linear(2, 2),
        lambda: nn.ReLU(),
        lambda: nn.LayerNorm(2),
    ]
    if depth > 2 or rng.random() < 0.3:
        return rng.choice(leaves)()
    names = rng.sample("abcdefgh", rng.randint(1, 4))
    made = nn.Sequential(OrderedDict((name, tree(rng, depth + 1)) for name in names))
    return nn.DataParallel(made) if depth and rng.random() < 0.2 else made


def disturbed(rng: random.Random, weights: dict) -> OrderedDict:
    """Remove, add, reshape and reorder some entries."""
    made = OrderedDict(weights)
    for key in list(made):
        if rng.random() < 0.15:
            del made[key]
        elif rng.random() < 0.1:
            made[key] = torch.ones(7)
    for _ in range(rng.randint(0, 3)):
        made[rng.choice(["x.y", "a.extra", "b.c.d.e", "module.a"])] = torch.ones(1)
    if hasattr(weights, "_metadata") and rng.random() < 0.7:
        made._metadata = weights._metadata
    return made


@pytest.mark.parametrize("seed", range(60))
def test_reports_are_the_same_text(seed, caplog):
    rng = random.Random(seed)
    model = tree(rng)
    weights = disturbed(rng, theirs.get_state_dict(model))
    start = {k: v.clone() for k, v in model.state_dict().items()}
    results = []
    for package in (theirs, ours):
        model.load_state_dict(start)
        caplog.clear()
        with caplog.at_level("WARNING", LOG.name):
            package.load_state_dict(model, weights, logger=LOG)
        try:
            package.load_state_dict(model, weights, strict=True)
            error = None
        except RuntimeError as raised:
            error = str(raised)
        results.append(
            (list(caplog.messages), error, {k: v.clone() for k, v in model.state_dict().items()})
        )
    (their_log, their_error, their_weights), (our_log, our_error, our_weights) = results
    assert our_log == their_log
    assert our_error == their_error
    assert all(torch.equal(v, their_weights[k]) for k, v in our_weights.items())


@pytest.mark.parametrize("home", ["mmengine", "mm2pl"])
def test_either_packages_model_for_augmented_tests_is_looked_through(home, caplog):
    def said(package, home):
        base = importlib.import_module(f"{home}.model").BaseTTAModel
        net = nn.Sequential(nn.Linear(1, 1))
        net.test_step = None
        model = type("Mean", (base,), {"merge_preds": lambda self, samples: samples})(net)
        caplog.clear()
        package.load_state_dict(
            model, {"0.weight": torch.ones(1, 1), "x": torch.ones(1)}, logger=LOG
        )
        return net[0].weight.item(), list(caplog.messages)

    assert said(ours, home) == said(theirs, "mmengine")
    assert said(ours, home)[0] == 1


@pytest.mark.parametrize("seed", range(20))
def test_state_dicts_are_the_same(seed):
    model = tree(random.Random(seed))
    mine, other = ours.get_state_dict(model, prefix="p."), theirs.get_state_dict(model, prefix="p.")
    assert list(mine) == list(other)
    assert mine._metadata == other._metadata
    assert all(torch.equal(mine[k], other[k]) for k in other)
    mine, other = ours.weights_to_cpu(mine), theirs.weights_to_cpu(other)
    assert list(mine) == list(other)
    assert mine._metadata == other._metadata


@pytest.mark.parametrize(
    "revise_keys",
    [[(r"^module\.", "")], [(r"^module.", "")], [("module.", "net."), (r"^net\.", "")], []],
    ids=str,
)
def test_revised_keys(tmp_path, monkeypatch, revise_keys):
    source = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    torch.save(
        {"state_dict": OrderedDict((f"module.{k}", v) for k, v in source.state_dict().items())},
        tmp_path / "x.pth",
    )
    loaded = []
    for package in (theirs, ours):
        torch.manual_seed(0)
        target = nn.ModuleDict({"module": nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))})
        if revise_keys:
            target = target["module"]
        package.load_checkpoint(
            target, str(tmp_path / "x.pth"), strict=True, revise_keys=revise_keys
        )
        loaded.append(target.state_dict())
    assert all(torch.equal(v, loaded[1][k]) for k, v in loaded[0].items())


def test_part_of_a_model(tmp_path):
    torch.save({"state_dict": {"backbone.a": 1, "head.a": 2}}, tmp_path / "x.pth")
    loaded = [
        p._load_checkpoint_with_prefix("backbone", str(tmp_path / "x.pth")) for p in (theirs, ours)
    ]
    assert loaded[0] == loaded[1] == {"a": 1}


@pytest.mark.parametrize(
    "name", ["get_external_models", "get_mmcls_models", "get_deprecated_model_names"]
)
def test_model_zoo_tables(monkeypatch, tmp_path, name):
    monkeypatch.setenv("MMENGINE_HOME", str(tmp_path))
    assert getattr(model_zoo, name)() == getattr(theirs, name)()


def test_schemes_are_found_alike():
    paths = [
        "a.pth",
        "/s3/a.pth",
        "http://a",
        "https://a",
        "s3://a",
        "x:s3://a",
        "petrel://a",
        "torchvision://a",
        "modelzoo://a",
        "open-mmlab://a",
        "openmmlab://a",
        "mmcls://a",
    ]
    for path in paths:
        names = [p.CheckpointLoader._get_checkpoint_loader(path).__name__ for p in (theirs, ours)]
        assert names[0] == names[1], path


# Files of real MMEngine


class PointsWithMeta(Points):
    metainfo: ClassVar = {
        "classes": ("a", "b"),
        "palette": np.array([[1, 2, 3], [4, 5, 6]], np.uint8),
        "ids": {1, 2},
    }


FILES = {
    "epochs, EMA, one cycle": (
        Scenario(
            optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.01}},
            param_scheduler=[
                {"type": "OneCycleLR", "by_epoch": False, "eta_max": 0.1, "total_steps": 27},
                {
                    "type": "ReduceOnPlateauParamScheduler",
                    "param_name": "weight_decay",
                    "monitor": "accuracy",
                },
            ],
            custom_hooks=[{"type": "EMAHook"}],
            default_hooks={
                "checkpoint": {
                    "type": "CheckpointHook",
                    "interval": 1,
                    "save_best": "accuracy",
                    "rule": "greater",
                }
            },
        ),
        "epoch_2.pth",
    ),
    "iterations": (
        Scenario(
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.01}},
            train_cfg={"by_epoch": False, "max_iters": 10, "val_interval": 5},
            sampler={"type": "InfiniteSampler", "shuffle": True},
            default_hooks={
                "checkpoint": {"type": "CheckpointHook", "interval": 5, "by_epoch": False}
            },
        ),
        "iter_5.pth",
    ),
}

READ = """
    import json, sys
    class Forbid:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] in ("mmengine", "addict", "mmcv", "yapf"):
                raise ModuleNotFoundError(name, name=name)
    sys.meta_path.insert(0, Forbid())
    from mm2pl.runner import save_checkpoint
    from mm2pl.checkpoint.weights import _load_checkpoint
    checkpoint = _load_checkpoint(sys.argv[1], "cpu", "silent")
    meta, hub = checkpoint["meta"], checkpoint["message_hub"]
    print(json.dumps({
        "keys": list(checkpoint),
        "meta": {k: v for k, v in meta.items() if k != "dataset_meta"},
        "palette": [meta["dataset_meta"]["palette"].tolist(), str(meta["dataset_meta"]["palette"].dtype)],
        "ids": sorted(meta["dataset_meta"]["ids"]),
        "scalars": {k: [v.hex() for v in b.data[0].tolist()] for k, b in hub["log_scalars"].items()},
        "counts": {k: b.data[1].tolist() for k, b in hub["log_scalars"].items()},
        "info": {k: repr(v) for k, v in hub["runtime_info"].items() if k != "dataset_meta"},
        "resumed": hub["resumed_keys"],
    }))
    save_checkpoint(checkpoint, sys.argv[1] + ".plain")
"""


@pytest.mark.parametrize("name", FILES)
def test_real_files_are_read_without_mmengine(tmp_path, name):
    scenario, file = FILES[name]
    scenario.options = {
        "train_dataloader": {
            "batch_size": 8,
            "dataset": PointsWithMeta(),
            "sampler": scenario.sampler,
            "collate_fn": {"type": "default_collate"},
        }
    }
    record("mmengine", scenario, str(tmp_path))
    path = tmp_path / file
    expected = torch.load(path, weights_only=False)
    script = [sys.executable, "-c", textwrap.dedent(READ), str(path)]
    output = subprocess.run(script, check=True, capture_output=True, text=True).stdout
    got = json.loads(output.splitlines()[-1])

    hub = expected["message_hub"]
    meta = expected["meta"]
    assert got["keys"] == list(expected)
    assert got["meta"] == {k: v for k, v in meta.items() if k != "dataset_meta"}
    assert got["palette"] == [meta["dataset_meta"]["palette"].tolist(), "uint8"]
    assert got["ids"] == [1, 2]
    scalars = hub["log_scalars"]
    assert scalars
    assert got["scalars"] == {k: [float(v).hex() for v in b.data[0]] for k, b in scalars.items()}
    assert got["counts"] == {k: b.data[1].tolist() for k, b in scalars.items()}
    assert got["info"] == {
        k: repr(v) for k, v in hub["runtime_info"].items() if k != "dataset_meta"
    }
    assert got["resumed"] == dict(hub["resumed_keys"])

    plain = torch.load(f"{path}.plain", weights_only=True)
    for part in ("state_dict", "ema_state_dict"):
        for key, value in expected.get(part, {}).items():
            assert torch.equal(plain[part][key], value)
    assert_same(plain["optimizer"], expected["optimizer"])


def assert_same(mine, other):
    if isinstance(other, torch.Tensor):
        assert torch.equal(mine, other)
    elif isinstance(other, dict):
        assert list(mine) == list(other)
        for key in other:
            assert_same(mine[key], other[key])
    elif isinstance(other, list):
        for a, b in zip(mine, other, strict=True):
            assert_same(a, b)
    else:
        assert mine == other


@pytest.mark.parametrize("name", FILES)
def test_real_mmengine_reads_what_was_read_and_written_here(tmp_path, monkeypatch, name):
    """Its message hub takes our file without a word, scalars aside."""
    from mmengine.logging import MessageHub, message_hub

    scenario, file = FILES[name]
    scenario.options = {}
    record("mm2pl", scenario, str(tmp_path))
    checkpoint = torch.load(tmp_path / file, weights_only=False)
    said: list[str] = []
    monkeypatch.setattr(message_hub, "print_log", lambda text, *args, **kwargs: said.append(text))
    hub = MessageHub("theirs")
    hub.load_state_dict(checkpoint["message_hub"])
    assert not said
    assert hub.get_info("iter") == checkpoint["meta"]["iter"] - 1
    assert hub.get_info("last_ckpt") == str(tmp_path / file)
