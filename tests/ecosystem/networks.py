"""Train released networks of a package for 12 iterations on made data, predict, and count the calls of each operator.

A module of ``MAKERS`` has a function ``made``, which builds the network of a config.
What the packages import and a network does not use (compilers, readers of data sets) is stood in for by modules
without contents: ``STANDINS``.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from mm2pl.compat import alias_mmengine
from tests.ecosystem.commands import CALLS, count_operators

STANDINS = (
    *("lyft_dataset_sdk", "matplotlib", "numba", "nuscenes", "open3d", "pandas", "pyquaternion"),
    *("scipy", "seaborn", "skimage", "torchvision", "trimesh", "waymo_open_dataset"),
)
MAKERS = {"mmdet3d": "space", "mmagic": "drawing", "mmflow": "flow"}
ITERATIONS = 12


class Standin(ModuleType):
    """A module that has every name: a class for a capital letter, else a decorator that does nothing."""

    __path__: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {}) if name[0].isupper() else decorator


def decorator(*args: Any, **kwargs: Any) -> Any:
    """Return a function as it is, with or without arguments of the decorator."""
    return args[0] if len(args) == 1 and callable(args[0]) else lambda function: function


class Finder(MetaPathFinder, Loader):
    """Finds the modules that are stood in for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        known = fullname.partition(".")[0] in STANDINS
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Standin(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        pass


class Made(NamedTuple):
    """A network with its data.

    Attributes:
        step: Trains for one iteration; returns its loss.
        predict: Returns how much is found in each sample.
    """

    step: Callable[[], float]
    predict: Callable[[], list[int]]


def descending(model: nn.Module, loss: Callable[[], Tensor], rate: float) -> Callable[[], float]:
    """Return a step down a loss by AdamW, with gradients of at most 10."""
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(parameters, rate)

    def step() -> float:
        value = loss()
        optimizer.zero_grad()
        value.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 10)
        optimizer.step()
        return float(value)

    return step


def main() -> None:
    """Serve MMEngine and the operators, counted; train each; write what came of it."""
    package, out, *configs = sys.argv[1:]
    sys.meta_path.append(Finder())  # only what is not installed
    count_operators()
    with alias_mmengine():
        scope = importlib.import_module("mmengine.registry").DefaultScope
        scope.get_instance("networks", scope_name=package)
        maker = importlib.import_module(f"tests.ecosystem.{MAKERS[package]}")
        results = {config: result_of(maker.made, config) for config in configs}
    Path(out).write_text(json.dumps(results))


def result_of(made: Callable[[str], Made], config: str) -> dict[str, Any]:
    """Return the losses of a network, what it finds, and the calls."""
    CALLS.clear()
    torch.manual_seed(0)
    network = made(config)
    losses = [network.step() for _ in range(ITERATIONS)]
    with torch.no_grad():
        found = network.predict()
    return {"losses": losses, "found": found, "calls": dict(CALLS)}
