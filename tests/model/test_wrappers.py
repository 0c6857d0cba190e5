"""Models wrapped for several processes; the training runs in two real ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.parallel import DataParallel

from mm2pl.model import MMDistributedDataParallel, MMFullyShardedDataParallel, is_model_wrapper
from mm2pl.model.wrappers import fully_sharded_distributed as fsdp
from mm2pl.registry import FUNCTIONS, MODEL_WRAPPERS, Registry
from tests.model.two_processes import SCENARIOS, run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return run("mm2pl", tmp_path_factory.mktemp("ddp"))


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_two_processes_keep_the_same_weights(trained, scenario):
    first, second = trained[scenario]
    for name, weight in first["weights"].items():
        if "running" not in name:
            assert torch.equal(weight, second["weights"][name]), name
    # what is logged is each process's own, as in MMEngine
    assert first["logs"] != second["logs"]


@pytest.mark.parametrize(
    ("module", "expected"),
    [(nn.Linear(1, 1), False), (DataParallel(nn.Linear(1, 1)), True)],
    ids=["model", "wrapper"],
)
def test_wrappers_are_told_from_models(module, expected):
    assert is_model_wrapper(module) is expected


def test_a_toolboxs_wrapper_is_known():
    child = Registry("model_wrapper", parent=MODEL_WRAPPERS, scope="toolbox")

    @child.register_module()
    class Wrapper(nn.Module):
        pass

    assert is_model_wrapper(Wrapper())


@pytest.mark.parametrize(
    "name",
    [
        "DataParallel",
        "DistributedDataParallel",
        "MMDistributedDataParallel",
        "MMSeparateDistributedDataParallel",
        "MMFullyShardedDataParallel",
    ],
)
def test_they_are_registered(name):
    assert MODEL_WRAPPERS.get(name).__name__ == name


def test_unknown_names_are_told():
    import mm2pl.model

    with pytest.raises(AttributeError, match=r"'mm2pl.model' has no attribute 'MMDataParallel'"):
        mm2pl.model.MMDataParallel  # noqa: B018
    with pytest.raises(AttributeError, match=r"'mm2pl.model.wrappers' has no attribute 'X'"):
        mm2pl.model.wrappers.X  # noqa: B018


class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(1, 1), nn.Linear(1, 1)


def test_unused_parameters_are_told(monkeypatch, tmp_path, capsys):
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        wrapped = MMDistributedDataParallel(_Model(), detect_anomalous_params=True)
        wrapped.train_step((torch.ones(1, 1),), _NoUpdate())
    finally:
        torch.distributed.destroy_process_group()
    said = "".join(capsys.readouterr())
    assert "module.net.unused.weight with shape torch.Size([1, 1]) is not in the" in said
    assert "module.net.used" not in said


class _Model(nn.Module):
    """As much of a model as the wrapper needs."""

    def __init__(self):
        super().__init__()
        self.net = Unused()

    def data_preprocessor(self, data, training):
        return data

    def forward(self, x, mode):
        return {"loss": self.net.used(x)}

    def parse_losses(self, losses):
        return losses["loss"].mean(), losses


class _NoUpdate:
    def optim_context(self, model):
        return torch.enable_grad()

    def update_params(self, loss):
        pass


class TestFsdpArguments:
    """What a config can say, and what FullyShardedDataParallel gets."""

    @pytest.fixture
    def given(self, monkeypatch):
        kept = {}

        def init(self, **kwargs):
            nn.Module.__init__(self)
            kept.update(kwargs)

        monkeypatch.setattr(fsdp.FullyShardedDataParallel, "__init__", init)
        return lambda **kwargs: (MMFullyShardedDataParallel(Unused(), **kwargs), kept)[1]

    @pytest.mark.parametrize(
        ("kwargs", "name", "expected"),
        [
            ({}, "use_orig_params", True),
            (
                {"sharding_strategy": "NO_SHARD"},
                "sharding_strategy",
                fsdp.ShardingStrategy.NO_SHARD,
            ),
            ({"cpu_offload": True}, "cpu_offload", fsdp.CPUOffload(offload_params=True)),
            (
                {"backward_prefetch": "BACKWARD_POST"},
                "backward_prefetch",
                fsdp.BackwardPrefetch.BACKWARD_POST,
            ),
            (
                {"mixed_precision": {"param_dtype": "float16", "buffer_dtype": torch.float32}},
                "mixed_precision",
                fsdp.MixedPrecision(param_dtype=torch.float16, buffer_dtype=torch.float32),
            ),
        ],
        ids=["default", "strategy", "offload", "prefetch", "precision"],
    )
    def test_names_become_objects(self, given, kwargs, name, expected):
        assert given(**kwargs)[name] == expected

    def test_functions_are_found(self, given):
        def policy(module, recurse, nonwrapped_numel, size=1):
            return size

        FUNCTIONS.register_module(module=policy)
        assert given(auto_wrap_policy="policy")["auto_wrap_policy"] is policy
        bound = given(auto_wrap_policy={"type": "policy", "size": 5})["auto_wrap_policy"]
        assert bound(None, True, 1) == 5

    def test_modules_are_found(self, given):
        ignored = given(ignored_modules=["unused"])["ignored_modules"]
        assert [type(module) for module in ignored] == [nn.Linear]

    @pytest.mark.parametrize(
        ("kwargs", "error", "message"),
        [
            (
                {"sharding_strategy": "ALL"},
                TypeError,
                r"sharding_strategy='ALL': None, one of \['FULL",
            ),
            ({"cpu_offload": 3}, TypeError, "cpu_offload=3: None, a bool or a CPUOffload"),
            ({"mixed_precision": {"param_dtype": "half16"}}, TypeError, "dtype 'half16'"),
            ({"auto_wrap_policy": "nothing"}, ValueError, "auto_wrap_policy='nothing' is not"),
            ({"param_init_fn": 3}, TypeError, "param_init_fn=3: a str, a callable, a dict or None"),
            ({"ignored_modules": ["nothing"]}, TypeError, r"ignored_modules names \['nothing'\]"),
        ],
        ids=["strategy", "offload", "dtype", "function", "number", "module"],
    )
    def test_wrong_arguments_are_told(self, given, kwargs, error, message):
        with pytest.raises(error, match=message):
            given(**kwargs)
