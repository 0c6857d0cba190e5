"""Files from strangers, drawn by a seed: nothing in them is run, and each is read as it was written or refused.

``MM2PL_FAULTS`` multiplies how many are drawn, ``MM2PL_FAULTS_SEED`` draws others.
"""

from __future__ import annotations

import copy
import os
import pickle
import random
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import nn
from torch.utils.data import DataLoader

from mm2pl.checkpoint.errors import CheckpointError
from mm2pl.checkpoint.reader import read_checkpoint
from mm2pl.config import Config
from mm2pl.errors import UserError
from mm2pl.lightning import MMLightningModule
from tests.faults.test_doors import DOORS
from tests.scenarios import Points, Scenario, build, models

pytestmark = pytest.mark.filterwarnings("ignore")

SEED = int(os.environ.get("MM2PL_FAULTS_SEED", "0"))
TIMES = float(os.environ.get("MM2PL_FAULTS", "1"))


def counts(few: int, many: int) -> list[Any]:
    """Return how many are drawn among the ordinary tests, and by ``tox -e faults``."""
    return [
        pytest.param(few, id="ci"),
        pytest.param(int(many * TIMES), id="many", marks=pytest.mark.faults),
    ]


def plateau(kind: str) -> Scenario:
    """Return a run whose checkpoints hold the state of everything that has one."""
    optimizer = {"SGD": {"momentum": 0.9, "lr": 0.05}, "AdamW": {"lr": 0.01}}[kind]
    schedules = [
        {"type": "LinearLR", "by_epoch": False, "end": 4, "start_factor": 0.1},
        {"type": "CosineAnnealingLR", "by_epoch": True, "T_max": 4},
        {"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater"},
        {"type": "OneCycleLR", "eta_max": 0.1, "total_steps": 40, "by_epoch": False},
    ]
    return Scenario(
        optim_wrapper={"optimizer": {"type": kind, **optimizer}, "accumulative_counts": 3},
        train_cfg={"by_epoch": True, "max_epochs": 2},
        param_scheduler=schedules[: 4 if kind == "SGD" else 3],
        custom_hooks=[
            {"type": "EMAHook", "momentum": 0.05},
            {"type": "EarlyStoppingHook", "monitor": "accuracy", "patience": 9},
        ],
        default_hooks={
            "checkpoint": {
                "type": "CheckpointHook",
                "save_best": "accuracy",
                "rule": "greater",
                "by_epoch": False,
                "interval": 4,
            }
        },
    )


def runner(folder: Path, kind: str, **options: Any) -> Any:
    keys = ("loss", "lr", "momentum", "metrics", "place", "validated_at")
    return build("mm2pl", plateau(kind), str(folder), {key: [] for key in keys}, **options)


def run(folder: Path, kind: str, **options: Any) -> None:
    runner(folder, kind, **options).train()


def predict(folder: Path, path: str) -> None:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "logger": False}
    trainer = Trainer(accelerator="cpu", default_root_dir=folder, **quiet)
    trainer.predict(MMLightningModule(model=plain()), DataLoader(Points(8)), ckpt_path=path)


def plain() -> nn.Module:
    return models("mm2pl")["plain"]()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Return a file of each kind of run, made once."""
    folder = tmp_path_factory.mktemp("written")
    for kind in ("SGD", "AdamW"):
        run(folder / kind, kind)
    return {kind: folder / kind / "iter_16.pth" for kind in ("SGD", "AdamW")}


# Flipped, cut and zeroed


def damaged(content: bytes, rng: random.Random) -> bytes:
    place, made = rng.randrange(len(content)), bytearray(content)
    match rng.choice(["flip", "cut", "zero", "swap"]):
        case "flip":
            made[place] ^= 1 << rng.randrange(8)
        case "cut":
            del made[place:]
        case "zero":
            size = min(rng.choice([1, 16, 512, 4096]), len(made) - place)
            made[place : place + size] = bytes(size)
        case _:
            other = rng.randrange(len(content))
            made[place], made[other] = made[other], made[place]
    return bytes(made)


@pytest.mark.parametrize("count", counts(60, 5000))
def test_a_damaged_file_is_never_read_differently(tmp_path, written, count):
    rng, content = random.Random(SEED), written["SGD"].read_bytes()
    whole, path = read_checkpoint(written["SGD"]), tmp_path / "x.pth"
    assert same(read_checkpoint(written["SGD"]), whole)
    refused = 0
    for number in range(count):
        path.write_bytes(damaged(content, rng))
        said = None
        try:
            found = read_checkpoint(path)
        except CheckpointError as error:
            said = str(error)
        refused += said is not None
        assert str(path) in said if said is not None else same(found, whole), number
    assert refused > count / 3


def same(mine: Any, other: Any) -> bool:
    if isinstance(other, torch.Tensor):
        return torch.equal(mine.nan_to_num(), other.nan_to_num()) and mine.dtype == other.dtype
    if isinstance(other, Mapping):
        return list(mine) == list(other) and all(same(mine[key], other[key]) for key in other)
    if isinstance(other, list | tuple):
        return len(mine) == len(other) and all(map(same, mine, other))
    if type(mine) is not type(other):
        return False
    if isinstance(other, np.ndarray):
        return mine.tobytes() == other.tobytes()
    if hasattr(other, "__dict__"):
        return same(vars(mine), vars(other))
    return mine == other or mine != mine


# Values of a wrong type

WRONG: list[Any] = [
    *("three", b"x", 3.5, -7, True, None, "../../etc", float("nan"), 10**30),
    *([], {}, (), [1, "a"], {"a": 1}, {3: 4}),
    *(torch.ones(2), torch.ones(()), torch.ones(3, 3, dtype=torch.int64)),
]


def places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    pairs: Any = value.items() if isinstance(value, Mapping) else ()
    pairs = enumerate(value) if isinstance(value, list) else pairs
    for key, each in pairs:
        yield from places(each, (*place, key))


WAYS = {
    "resume": lambda folder, kind, path: run(folder, kind, resume=True, load_from=path),
    "load_from": lambda folder, kind, path: run(folder, kind, load_from=path),
    "val": lambda folder, kind, path: runner(folder, kind, load_from=path).val(),
    "predict": lambda folder, kind, path: predict(folder, path),
    "module": lambda folder, kind, path: MMLightningModule.load_from_checkpoint(
        path, model=plain()
    ),
    "convert": lambda folder, kind, path: DOORS["convert"](path),
    "load_checkpoint": lambda folder, kind, path: DOORS["load_checkpoint"](path),
}


@pytest.mark.parametrize("count", counts(8, 300))
def test_a_value_of_a_wrong_type_is_one_message_or_nothing(tmp_path, written, count):
    refused = 0
    for number in range(count):
        rng = random.Random(f"{SEED} {number}")
        kind = rng.choice(["SGD", "AdamW"])
        content = torch.load(written[kind], weights_only=True)
        key = rng.choice(list(content))
        place = rng.choice([each for each in places(content) if each[:1] == (key,)])
        holder = content
        for part in place[:-1]:
            holder = holder[part]
        holder[place[-1]] = copy.deepcopy(rng.choice(WRONG))
        # More than half resume, which reads most of the file.
        way = rng.choice([*WAYS, *["resume"] * 8])
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        said = None
        try:
            WAYS[way](tmp_path / str(number), kind, str(path))
        except (CheckpointError, UserError) as error:
            said = str(error)
        except Exception as error:
            raise AssertionError(f"{number}: {way} of {place}") from error
        refused += said is not None
        assert said is None or str(path) in said, (number, way, place, said)
    assert refused > 0


# Forged


class Calls:
    """Is unpickled as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


FORGED = [
    lambda: Calls(os.system, "touch ran"),
    lambda: Calls(subprocess.call, ["touch", "ran"]),
    lambda: Calls(eval, "open('ran', 'w')"),
    lambda: Calls(exec, "open('ran', 'w')"),
    lambda: Calls(open, "ran", "w"),
    lambda: Calls(Path.touch, Path("ran")),
    lambda: Calls(getattr, Path, "touch"),
    lambda: Calls(pickle.loads, pickle.dumps(Calls(os.system, "touch ran"))),
    lambda: Calls(__import__, "antigravity"),
    lambda: Calls(torch.hub.load, "x/y", "z"),
    lambda: Calls(nn.Linear, 10**9, 10**9),
    lambda: Calls(Config.fromfile, "evil.py"),
    lambda: Calls(os.remove, "kept"),
]


@pytest.mark.parametrize("count", counts(26, 300))
def test_nothing_in_a_forged_file_is_called(tmp_path, monkeypatch, written, count):
    monkeypatch.chdir(tmp_path)
    Path("kept").touch()
    Path("evil.py").write_text("open('ran', 'w')")
    for number in range(count):
        rng = random.Random(f"{SEED} {number}")
        content = torch.load(written["SGD"], weights_only=True)
        holders = [content, content["meta"], content["message_hub"], content["state_dict"]]
        holder = rng.choice(holders)
        holder[rng.choice([*holder, "more"])] = rng.choice(FORGED)()
        torch.save(content, "x.pth", _use_new_zipfile_serialization=rng.random() < 0.5)
        door = rng.choice(list(DOORS))
        with pytest.raises(CheckpointError, match=r"pickles \S+, which|damaged"):
            DOORS[door](str(tmp_path / "x.pth"))
        assert sorted(os.listdir()) == ["evil.py", "kept", "x.pth"], (number, door)


# Hostile configs

PARTS = [
    "__import__('os').system('touch ran')",
    "open('ran', 'w')",
    "eval('1')",
    "().__class__.__base__.__subclasses__()",
    "[x for x in ().__class__.__mro__]",
    "(lambda: 0).__globals__",
    "'{0.__class__}'.format(1)",
    "range(10**100)",
    "'a' * 10**12",
    "[0] * 10**12",
    "10 ** 10 ** 10",
    "1 << 10**12",
    "dict(_deprecation_=5)",
    "dict(_delete_=dict(_delete_=True, a=1))",
    "'{{_base_.x.__class__}}'",
    "[[[[[[1] * 99] * 99] * 99] * 99] * 99] * 99",
    "{**{'a': 1}, 'b': (1, 2)}",
    "'\\ud800'",
    "f'{open}'",
    "getattr(1, 'real')",
]
LINES = [
    "import os\nx = os.system('touch ran')",
    "from subprocess import call\nx = call(['touch', 'ran'])",
    "_base_ = '\\ud800.py'",
    "_base_ = ['../../../etc/passwd']",
    "custom_imports = dict(imports=['antigravity'])",
    "class A:\n    x = open('ran', 'w')",
    "def f():\n    return f()\nx = f()",
    "while True:\n    pass",
    "exec('x = 1')",
    "with open('ran', 'w') as f:\n    pass",
    "x = 1\n" * 50,
    "import this",
]


@pytest.mark.parametrize("count", counts(40, 300))
def test_a_hostile_config_runs_nothing_when_it_is_safe(tmp_path, monkeypatch, count):
    monkeypatch.chdir(tmp_path)
    for number in range(count):
        rng = random.Random(f"{SEED} {number}")
        lines = [f"v{i} = {rng.choice(PARTS)}" for i in range(rng.randint(0, 2))]
        lines.insert(rng.randint(0, len(lines)), rng.choice([*LINES, f"y = {rng.choice(PARTS)}"]))
        Path("x.py").write_text("\n".join(lines) + "\n", encoding="utf-8")
        said = None
        try:
            Config.fromfile("x.py", safe=True)
        except (UserError, OSError, ValueError, SyntaxError, TypeError) as error:
            said = error
        named = said is None or isinstance(said, UserError) or "x.py" in str(said)
        assert named, (number, lines, said)
        assert sorted(os.listdir()) == ["x.py"], (number, lines)
