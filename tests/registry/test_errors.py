from __future__ import annotations

import pickle
import sys
from types import ModuleType

import pytest

from mm2pl.registry import (
    HOOKS,
    METRICS,
    MODELS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
    Registry,
    RegistryKeyError,
)
from mm2pl.registry.errors import MISTAKEN_NAMES, NotRegisteredError, accepted_arguments


@pytest.mark.parametrize(
    ("registry", "key", "parts"),
    [
        (OPTIMIZERS, "adamw", ["mm2pl::optimizer", "Did you mean 'AdamW'"]),
        (PARAM_SCHEDULERS, "LinearLRScheduler", ["Did you mean 'LinearLR'"]),
        (PARAM_SCHEDULERS, "LinearMomentumScheduler", ["Did you mean 'LinearMomentum'"]),
        (PARAM_SCHEDULERS, "LinearParam", ["Did you mean 'LinearParamScheduler'"]),
        (HOOKS, "SchedulerStepHook", ["Did you mean 'ParamSchedulerHook'"]),
        (HOOKS, "Fp16OptimizerHook", ["AmpOptimWrapper"]),
        (MODELS, "nowhere.Net", ["the scope 'nowhere'", "No module named 'nowhere'"]),
        (
            MODELS,
            "collections.OrderedDickt",
            ["collections has no OrderedDickt", "Did you mean 'OrderedDict'"],
        ),
        (MODELS, "mmselfsup.MoCo", ["mmselfsup is not installed: `pip install mmselfsup`"]),
        (MODELS, "Nett", ["custom_imports=dict(imports=['my_package.my_module'])"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_miss_says_where_it_looked_and_what_instead(
    registry: Registry, key: str, parts: list[str], tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ("LinearLR", "LinearMomentum", "LinearParamScheduler", "ParamSchedulerHook", "AdamW")
    for name in names:
        registry.register_module(name, force=True, module=dict)
    with pytest.raises(RegistryKeyError) as caught:
        registry.build({"type": key})
    message = str(caught.value)
    assert message.startswith(f"{key} is not in the mm2pl::{registry.name} registry.\nSearched: ")
    assert [part for part in parts if part not in message] == []


def test_mistaken_names_are_not_names_of_ours() -> None:
    wrong = [name for name in MISTAKEN_NAMES if any(name in r for r in (HOOKS, PARAM_SCHEDULERS))]
    assert wrong == []


def test_the_module_that_defines_it_is_found_below_the_working_directory(
    tmp_path, monkeypatch
) -> None:
    (tmp_path / "mylib").mkdir()
    (tmp_path / "mylib" / "nets.py").write_text(
        "import torch\n\nclass FarAwayNet(object):\n  pass\n"
    )
    monkeypatch.chdir(tmp_path)
    message = str(NotRegisteredError("FarAwayNet", MODELS))
    assert "custom_imports=dict(imports=['mylib.nets'])" in message
    assert message.endswith(" Or type='mylib.nets.FarAwayNet'.")


def test_a_module_that_forgets_to_register_is_named(monkeypatch) -> None:
    module = ModuleType("forgetful")
    module.ForgottenNet = type("ForgottenNet", (), {"__module__": "forgetful"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "forgetful", module)
    assert "forgetful defines ForgottenNet but does not register it" in str(
        NotRegisteredError("ForgottenNet", MODELS)
    )


def test_nobody_is_told_to_change_a_library() -> None:
    pytest.importorskip("torchmetrics")
    message = str(NotRegisteredError("CohenKappa", METRICS))
    assert "For torchmetrics's, write type='torchmetrics.CohenKappa'." in message
    assert "register_module() there" not in message


def test_another_registry_that_has_it_is_named() -> None:
    METRICS.register_module("OnlyAMetric", module=dict)
    message = str(NotRegisteredError("OnlyAMetric", MODELS))
    assert "OnlyAMetric is registered in mm2pl::metric" in message
    assert "must be imported first" not in message


def test_the_scope_that_has_it_is_offered() -> None:
    Registry("model", parent=MODELS, scope="herbs").register_module("Basil", module=dict)
    lines = str(NotRegisteredError("Basil", MODELS)).splitlines()
    assert lines[-1] == "Write type='herbs.Basil', or default_scope='herbs'."


def test_a_wrong_scope_is_named(monkeypatch) -> None:
    module = ModuleType("mine")
    module.HereNet = type("HereNet", (), {"__module__": "mine"})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", module)
    MODELS.register_module(module=module.HereNet)
    lines = str(NotRegisteredError("mmdet.HereNet", MODELS)).splitlines()
    assert lines[-1] == "HereNet without 'mmdet.' is in mm2pl::model."


def test_classes_of_lightning_and_torch_are_offered_by_their_path() -> None:
    import torch.optim.lr_scheduler  # noqa: F401

    assert "type='torch.optim.lr_scheduler.CyclicLR'" in str(NotRegisteredError("CyclicLR", HOOKS))
    # A param_scheduler schedules the wrapper, which torch's take no more than a name.
    assert "write type=" not in str(NotRegisteredError("CyclicLR", PARAM_SCHEDULERS))


def test_the_search_is_made_when_the_message_is_read(monkeypatch) -> None:
    def fail(*args: object) -> str:
        raise NotImplementedError

    monkeypatch.setattr("mm2pl.registry.errors.where_defined", fail)
    with pytest.raises(KeyError) as caught:
        MODELS.build({"type": "Nett"})
    assert caught.value.args == ("Nett is not in the mm2pl::model registry.",)


def test_a_miss_can_be_sent_from_a_worker_process() -> None:
    error = NotRegisteredError("Nett", MODELS)
    sent = pickle.loads(pickle.dumps(error))
    assert str(sent) == str(error)


def test_all_parents_are_listed() -> None:
    child = Registry("model", parent=MODELS, scope="toys")
    assert f"Searched: toys::model (0 names), mm2pl::model ({len(MODELS)} names)." in str(
        NotRegisteredError("X", child)
    )


@pytest.mark.parametrize(
    ("factory", "expected"),
    [
        (lambda a, *, b=1: None, ["a", "b"]),
        (lambda a, **rest: None, None),
        (lambda *args: None, []),
        (dict, None),
    ],
)
def test_accepted_arguments(factory: object, expected: list | None) -> None:
    assert accepted_arguments(factory) == expected  # type: ignore[arg-type]
