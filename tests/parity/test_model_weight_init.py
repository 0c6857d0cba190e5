"""Initial values, bit for bit, and what the log says of them, compared with MMEngine."""

from __future__ import annotations

import logging
import random
from importlib import import_module

import pytest
import torch
from torch import nn

pytestmark = pytest.mark.parity
pytest.importorskip("mmengine")
PACKAGES = ("mm2pl", "mmengine")
LAYERS = ["Conv2d", "Linear", "BatchNorm2d", "_ConvNd", "Head", "Module", "GroupNorm"]
SMALL = [-0.3, 0.0, 0.01, 0.5, 2]


def build(package, cfgs):
    """Return a network of BaseModules, containers and plain modules, with a config at each level."""
    model = import_module(f"{package}.model")

    class Head(model.BaseModule):
        def __init__(self, init_cfg=None):
            super().__init__(init_cfg)
            self.fc = nn.Linear(3, 2)
            self.cls = nn.Linear(2, 2, bias=False)

    class ByHand(Head):
        def init_weights(self):
            super().init_weights()
            nn.init.uniform_(self.cls.weight)

    class Net(model.BaseModule):
        def __init__(self):
            super().__init__(cfgs["net"])
            self.stem = model.Sequential(
                nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.GroupNorm(1, 3), init_cfg=cfgs["stem"]
            )
            self.stages = model.ModuleList([Head(cfgs["head"]), ByHand()], init_cfg=cfgs["stages"])
            self.heads = model.ModuleDict({"a": nn.Linear(2, 2)}, init_cfg=cfgs["heads"])
            self.plain = nn.Sequential(nn.Conv1d(1, 4, 3), Head(cfgs["inner"]), nn.PReLU())

    return Net()


def random_initializer(rng):
    bias = rng.choice([{}, {"bias": 0.25}, {"bias_prob": 0.1}])
    chosen = {
        "Constant": {"val": rng.choice(SMALL)},
        "Xavier": {
            "gain": rng.choice([1, 0.02]),
            "distribution": rng.choice(["normal", "uniform"]),
        },
        "Normal": {"mean": rng.choice(SMALL), "std": rng.choice([0.01, 1, 3])},
        "TruncNormal": {"std": rng.choice([0.02, 1]), "a": rng.choice([-2, -0.03]), "b": 0.04},
        "Uniform": {"a": -1, "b": rng.choice([0, 1, 2])},
        "Kaiming": {
            "a": rng.choice([0, 0.1]),
            "mode": rng.choice(["fan_in", "fan_out"]),
            "nonlinearity": rng.choice(["relu", "leaky_relu"]),
            "distribution": rng.choice(["normal", "uniform"]),
        },
        "Caffe2Xavier": {},
    }
    kind = rng.choice(list(chosen))
    return {"type": kind, **chosen[kind], **bias}


def random_cfg(rng, parts):
    if rng.random() < 0.3:
        return None
    cfgs = []
    for _ in range(rng.randint(1, 3)):
        layers = rng.sample([name for name in LAYERS if name != "BatchNorm2d"], rng.randint(0, 3))
        cfg = {
            **random_initializer(rng),
            "layer": rng.choice([layers, layers[0] if layers else None]),
        }
        if parts and rng.random() < 0.4:
            name = rng.choice(parts)
            own = rng.choice([{}, random_initializer(rng)])
            cfg["override"] = rng.choice([{"name": name, **own}, [{"name": name, **own}]])
        cfgs.append(cfg)
    return cfgs[0] if len(cfgs) == 1 and rng.random() < 0.5 else cfgs


def random_cfgs(rng):
    parts = {"net": ["heads"], "head": ["fc", "cls"], "inner": ["fc"]}
    return {
        level: random_cfg(rng, parts.get(level, []))
        for level in ("net", "stem", "stages", "heads", "head", "inner")
    }


def initialised(package, cfgs, seed, caplog):
    torch.manual_seed(seed)
    net = build(package, cfgs)
    logger = import_module(f"{package}.logging").MMLogger.get_instance(f"{package}-{seed}")
    logger.setLevel(logging.INFO)
    caplog.clear()
    logger.addHandler(caplog.handler)
    try:
        net.init_weights()
        outcome = None
    except Exception as error:
        outcome = error
    rows = [r.message for r in caplog.records if "torch.Size" in r.message]
    return net, outcome, rows, torch.get_rng_state()


@pytest.mark.filterwarnings("ignore:.*2 std.*:UserWarning")
@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors:UserWarning")
@pytest.mark.parametrize("seed", range(150))
def test_random_networks_start_alike(seed, caplog):
    cfgs = random_cfgs(random.Random(seed))
    (ours, error, rows, state), (theirs, expected, their_rows, their_state) = (
        initialised(package, cfgs, seed, caplog) for package in PACKAGES
    )
    assert (error is None) == (expected is None), (error, expected)
    if expected is not None:
        assert isinstance(error, type(expected))
        return
    assert torch.equal(state, their_state)
    other = theirs.state_dict()
    assert list(ours.state_dict()) == list(other)
    assert all(torch.equal(value, other[name]) for name, value in ours.state_dict().items())
    assert rows == their_rows
    assert len(rows) == len(list(ours.parameters()))


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("constant_init", (0.3, 0.1)),
        ("xavier_init", (2, 0.1, "uniform")),
        ("xavier_init", ()),
        ("normal_init", (0.1, 0.2, 0.3)),
        ("trunc_normal_init", (0.1, 0.5, -0.2, 0.4, 0.1)),
        ("trunc_normal_init", ()),
        ("uniform_init", (-1, 2, 0.5)),
        ("kaiming_init", (0.1, "fan_in", "leaky_relu", 0.2, "uniform")),
        ("kaiming_init", ()),
        ("caffe2_xavier_init", (0.7,)),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [lambda: nn.Linear(5, 7), lambda: nn.Conv2d(2, 3, 3, bias=False)])
def test_functions_draw_alike(name, args, make):
    results = []
    for package in PACKAGES:
        torch.manual_seed(1)
        module = make()
        getattr(import_module(f"{package}.model"), name)(module, *args)
        results.append(module.state_dict())
    assert all(torch.equal(value, results[1][key]) for key, value in results[0].items())


@pytest.mark.parametrize("prob", [1e-6, 0.01, 0.3, 0.999])
def test_biases_from_probabilities(prob):
    ours, theirs = (import_module(f"{p}.model").bias_init_with_prob(prob) for p in PACKAGES)
    assert ours.hex() == theirs.hex()
