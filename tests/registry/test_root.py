from __future__ import annotations

import subprocess
import sys

import pytest

import mm2pl.registry
from mm2pl import locations
from mm2pl.registry import HOOKS, METRICS, MODELS, OPTIMIZERS, PARAM_SCHEDULERS, Registry, root

NAMES = {
    "RUNNERS": "runner",
    "RUNNER_CONSTRUCTORS": "runner constructor",
    "LOOPS": "loop",
    "HOOKS": "hook",
    "STRATEGIES": "strategy",
    "DATASETS": "dataset",
    "DATA_SAMPLERS": "data sampler",
    "TRANSFORMS": "transform",
    "MODELS": "model",
    "MODEL_WRAPPERS": "model_wrapper",
    "WEIGHT_INITIALIZERS": "weight initializer",
    "OPTIMIZERS": "optimizer",
    "OPTIM_WRAPPERS": "optim_wrapper",
    "OPTIM_WRAPPER_CONSTRUCTORS": "optimizer wrapper constructor",
    "PARAM_SCHEDULERS": "parameter scheduler",
    "METRICS": "metric",
    "EVALUATOR": "evaluator",
    "TASK_UTILS": "task util",
    "VISUALIZERS": "visualizer",
    "VISBACKENDS": "vis_backend",
    "LOG_PROCESSORS": "log_processor",
    "INFERENCERS": "inferencer",
    "FUNCTIONS": "function",
}


def test_all_root_registries_are_there() -> None:
    found = {n: r.name for n, r in vars(root).items() if isinstance(r, Registry)}
    assert found == NAMES
    assert {getattr(mm2pl.registry, name).scope for name in NAMES} == {"mm2pl"}


def test_importing_registries_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "lightning", "torchmetrics", "mmengine", "yaml", "rich"}
    code = f"import mm2pl.registry, sys; print(sorted({heavy!r} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_torch_optimizers_have_short_names() -> None:
    import torch

    assert OPTIMIZERS.get("SGD") is torch.optim.SGD
    assert OPTIMIZERS.get("AdamW") is torch.optim.AdamW
    assert OPTIMIZERS.get("TorchAdafactor") is torch.optim.Adafactor
    assert OPTIMIZERS.get("lr_scheduler") is None
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    built = OPTIMIZERS.build({"type": "SGD", "lr": 0.1, "params": parameters})
    assert type(built) is torch.optim.SGD


@pytest.mark.parametrize(
    ("registry", "key", "module"),
    [
        (PARAM_SCHEDULERS, "torch.optim.lr_scheduler.StepLR", "torch.optim.lr_scheduler"),
        (PARAM_SCHEDULERS, "torch.StepLR", "torch.optim.lr_scheduler"),
        (OPTIMIZERS, "torch.optim.SGD", "torch.optim.sgd"),
        (HOOKS, "lightning.pytorch.callbacks.DeviceStatsMonitor", "lightning.pytorch.callbacks"),
        (HOOKS, "lightning.DeviceStatsMonitor", "lightning.pytorch.callbacks"),
        (METRICS, "torchmetrics.MulticlassAccuracy", "torchmetrics.classification.accuracy"),
        (METRICS, "torchmetrics.Accuracy", "torchmetrics.classification.accuracy"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
@pytest.mark.filterwarnings("ignore")  # what lightning and torchmetrics warn of while importing
def test_other_peoples_classes_by_dotted_name(registry: Registry, key: str, module: str) -> None:
    found = registry.get(key)
    assert found.__name__ == key.rpartition(".")[2]
    assert found.__module__.startswith(module)


@pytest.mark.parametrize(
    ("registry", "key"),
    [
        (HOOKS, "DeviceStatsMonitor"),
        (METRICS, "MulticlassAccuracy"),
        (PARAM_SCHEDULERS, "CyclicLR"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_but_not_by_short_name(registry: Registry, key: str) -> None:
    assert registry.get(key) is None


@pytest.mark.parametrize("prefix", ["mm2pl", "mmengine"])
def test_our_own_classes_with_a_prefix(prefix: str) -> None:
    from mm2pl.registry import Registry as ours

    MODELS.register_module("Mine", module=dict)
    assert MODELS.get(f"{prefix}.Mine") is dict
    assert MODELS.get(f"{prefix}.registry.Registry") is ours
    with MODELS.switch_scope_and_registry(prefix) as registry:
        assert registry is MODELS


def test_a_users_class_wins_over_torchs_before_and_after() -> None:
    @OPTIMIZERS.register_module()
    class SGD:
        pass

    assert OPTIMIZERS.get("SGD") is SGD
    OPTIMIZERS.import_from_location()
    assert OPTIMIZERS.get("SGD") is SGD
    with pytest.raises(KeyError, match="SGD is already registered in optimizer"):
        OPTIMIZERS.register_module("SGD", module=dict)

    @OPTIMIZERS.register_module()
    class Adam:
        pass

    assert OPTIMIZERS.get("Adam") is Adam


def test_users_classes_of_other_tests_are_gone() -> None:
    import torch

    assert OPTIMIZERS.get("Adam") is torch.optim.Adam


def test_own_classes_may_not_clash_with_each_other() -> None:
    first, second = (type("Twin", (), {"__module__": "mm2pl.hooks"}) for _ in range(2))
    registry = root.RootRegistry("twins")
    registry.register_module(module=first)
    registry.register_module(module=first)
    with pytest.raises(KeyError, match=r"Twin is already registered in twins at mm2pl.hooks"):
        registry.register_module(module=second)


def test_names_of_optional_packages_are_misses_without_them(monkeypatch) -> None:
    names = {"A": "no_such_pack.A", "B": "collections.abc"}
    monkeypatch.setitem(locations.BY_NAME, "optional", names)
    registry = root.RootRegistry("optional")
    assert registry.get("A") is None
    import collections.abc

    assert registry.get("B") is collections.abc
