"""What a config-driven run hands to the parts it builds: nested dicts with attributes, as from MMEngine's Runner."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios import Points, accuracy, models

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

OPTIONS = {"kind": "a", "inner": [{"depth": 2}], "pair": ({"x": 1},)}
"""Arguments that each part takes besides its own."""


def shape(value: Any) -> Any:
    """Return names of types, all the way down."""
    if isinstance(value, dict):
        return type(value).__name__, {key: shape(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value).__name__, [shape(item) for item in value]
    return type(value).__name__


def watched(base: type, name: str, seen: dict[str, Any], *registries: Any) -> str:
    """Register a class that notes what it is given as ``options``."""

    def __init__(self, *args: Any, options: Any = None, **kwargs: Any) -> None:
        seen[name] = shape(options), options.inner[0].depth, options.pair[0].x
        base.__init__(self, *args, **kwargs)

    cls = type(name, (base,), {"__init__": __init__})
    for registry in registries:
        registry.register_module(name=name, module=cls, force=True)
    return name


@pytest.fixture(params=["mmengine", "mm2pl"])
def package(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both packages, with their registries as before afterwards."""
    roots = importlib.import_module(f"{request.param}.registry")
    names = ("DATASETS", "HOOKS", "METRICS", "LOOPS", "DATA_SAMPLERS", "LOG_PROCESSORS", "MODELS")
    names += ("OPTIM_WRAPPERS", "PARAM_SCHEDULERS", "VISUALIZERS", "VISBACKENDS")
    before = {name: dict(getattr(roots, name)._module_dict) for name in names}
    yield request.param
    for name, content in before.items():
        getattr(roots, name)._module_dict.clear()
        getattr(roots, name)._module_dict.update(content)


def parts(package: str, seen: dict[str, Any], work_dir: Path) -> dict[str, Any]:
    """Return a config of which every part is watched."""
    load = importlib.import_module
    roots, runner, hooks = (load(f"{package}.{name}") for name in ("registry", "runner", "hooks"))
    optim, vis = load(f"{package}.optim"), load(f"{package}.visualization")
    sampler = load(f"{package}.dataset").DefaultSampler
    roots.MODELS.register_module(name="Classifier", module=models(package)["plain"])

    def part(base: type, kind: str, **more: Any) -> dict[str, Any]:
        name = f"Watched{base.__name__}"
        watched(base, name, seen, getattr(roots, kind))
        return {"type": name, "options": OPTIONS, **more}

    loader = {
        "batch_size": 8,
        "dataset": part(Points, "DATASETS", size=16),
        "sampler": part(sampler, "DATA_SAMPLERS", shuffle=False),
        "collate_fn": {"type": "default_collate"},
    }
    sgd = {"type": "SGD", "lr": 0.1}
    return {
        "model": {"type": "Classifier"},
        "work_dir": str(work_dir),
        "train_dataloader": loader,
        "val_dataloader": loader,
        "train_cfg": part(runner.EpochBasedTrainLoop, "LOOPS", max_epochs=1),
        "val_cfg": part(runner.ValLoop, "LOOPS"),
        "val_evaluator": [part(accuracy(package), "METRICS")],
        "optim_wrapper": part(optim.OptimWrapper, "OPTIM_WRAPPERS", optimizer=sgd),
        "param_scheduler": [part(optim.ConstantLR, "PARAM_SCHEDULERS", end=1)],
        "default_hooks": {"timer": part(hooks.IterTimerHook, "HOOKS")},
        "custom_hooks": [part(hooks.EmptyCacheHook, "HOOKS")],
        "visualizer": {
            "type": "Visualizer",
            "vis_backends": [part(vis.LocalVisBackend, "VISBACKENDS")],
        },
        "log_processor": part(runner.LogProcessor, "LOG_PROCESSORS"),
        "default_scope": package,
        "experiment_name": f"nested-{package}",
        "log_level": "ERROR",
    }


EXPECTED = (
    "ConfigDict",
    {
        "kind": "str",
        "inner": ("list", [("ConfigDict", {"depth": "int"})]),
        "pair": ("tuple", [("ConfigDict", {"x": "int"})]),
    },
)


def test_every_part_reads_its_nested_config_by_attribute(package, tmp_path):
    seen: dict[str, Any] = {}
    config = parts(package, seen, tmp_path)
    cfg = importlib.import_module(f"{package}.config").Config(config)
    importlib.import_module(f"{package}.runner").Runner.from_cfg(cfg).train()
    assert len(seen) == 11
    assert seen == dict.fromkeys(seen, (EXPECTED, 2, 1))
    assert type(config["custom_hooks"][0]["options"]) is dict
