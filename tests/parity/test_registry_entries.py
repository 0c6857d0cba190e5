"""Every entry of MMEngine's root registries is here, as a class of ours that takes the same arguments."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mm2pl.registry as ours

mmengine = pytest.importorskip("mmengine", reason="needs mmengine")
pytestmark = pytest.mark.parity

REGISTRIES = [
    *("OPTIMIZERS", "OPTIM_WRAPPERS", "OPTIM_WRAPPER_CONSTRUCTORS", "PARAM_SCHEDULERS"),
    *("DATASETS", "DATA_SAMPLERS", "FUNCTIONS", "TRANSFORMS", "METRICS", "EVALUATOR"),
]
REFUSED = {
    "ApexOptimWrapper": "torch.amp has replaced apex.amp; says so when it is built",
    "ColossalAIOptimWrapper": "ColossalAI does not run on today's PyTorch; says so when it is built",
}
ON_REQUEST = {
    "ZeroRedundancyOptimizer": "importing torch.distributed.optim takes half as long as torch"
}
"""Found by name, and in ``module_dict`` from then on."""


def entries(registry: str) -> dict[str, Any]:
    """Return what MMEngine and torch registered there; other tests may have registered more."""
    import mmengine.registry

    mmengine.registry.count_registered_modules(verbose=False)
    found = getattr(mmengine.registry, registry).module_dict
    own = ("mmengine", "torch")
    return {n: m for n, m in found.items() if m.__module__.partition(".")[0] in own}


def arguments(obj: Any) -> list[tuple[Any, ...]] | None:
    """Return names, kinds and defaults; None if the object does not name them (MMEngine's `LinearLR`)."""
    parameters = list(inspect.signature(obj).parameters.values())
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return None
    return [(parameter.name, parameter.kind, parameter.default) for parameter in parameters]


@pytest.mark.parametrize("registry", REGISTRIES)
def test_entries(registry: str) -> None:
    mine = getattr(ours, registry)
    for name, theirs in entries(registry).items():
        found = mine.get(name)
        assert found is not None, f"{registry} has no {name}"
        assert found.__module__.partition(".")[0] in ("mm2pl", "torch"), f"{name} is MMEngine's"
        assert (found.__name__, name in mine.module_dict) == (theirs.__name__, True)
        if name not in REFUSED and (expected := arguments(theirs)) is not None:
            assert arguments(found) == expected, name


def test_there_is_something_to_compare() -> None:
    sizes = {registry: len(entries(registry)) for registry in REGISTRIES}
    assert [name for name, size in sizes.items() if not size] == ["TRANSFORMS"]
    assert sizes["PARAM_SCHEDULERS"] == 29
    assert {*REFUSED, *ON_REQUEST} <= {n for registry in REGISTRIES for n in entries(registry)}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_zero_redundancy_optimizer_equals_mmengines(tmp_path: Path) -> None:
    import mmengine.optim

    import mm2pl.optim

    def trained(package: Any) -> list[torch.Tensor]:
        torch.manual_seed(0)
        model = nn.Linear(3, 2)
        optimizer = {"type": "ZeroRedundancyOptimizer", "optimizer_type": "AdamW", "lr": 0.1}
        wrapper = package.build_optim_wrapper(model, {"optimizer": optimizer})
        assert type(wrapper.optimizer).__module__.startswith(package.__name__)
        for _ in range(3):
            wrapper.update_params(model(torch.ones(1, 3)).sum())
        state = wrapper.state_dict()["state"]
        return [*model.parameters(), *(value for each in state.values() for value in each.values())]

    store = f"file://{tmp_path}/store"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        pairs = list(zip(trained(mm2pl.optim), trained(mmengine.optim), strict=True))
    finally:
        torch.distributed.destroy_process_group()
    assert len(pairs) == 2 + 2 * 3
    assert all(torch.equal(mine, theirs) for mine, theirs in pairs)
