"""Look-ups through scopes, ours against MMEngine's, and MMEngine's registries behind ours."""

from __future__ import annotations

import random
import sys
from types import SimpleNamespace
from typing import Any

import pytest

import mm2pl.registry as ours
from mm2pl.registry import HOOKS, MODELS, PARAM_SCHEDULERS, VISUALIZERS, DefaultScope

pytestmark = pytest.mark.parity

SCOPES = ("dog", "hound", "little_hound", "samoyed", "cat")
NAMES = ("A", "B", "C", "D")


@pytest.fixture
def theirs() -> Any:
    pytest.importorskip("mmengine")
    import mmengine.registry

    # Registers all that is MMEngine's own, once: what is taken back after a test is the test's.
    mmengine.registry.count_registered_modules(verbose=False)
    scope = mmengine.registry.DefaultScope
    before = scope._instance_dict.copy()
    roots = [v for v in vars(mmengine.registry.root).values() if type(v).__name__ == "Registry"]
    registries = [(r, dict(r._module_dict), dict(r._children)) for r in roots]
    yield mmengine.registry
    scope._instance_dict = before
    for registry, modules, children in registries:
        registry._module_dict.clear()
        registry._module_dict.update(modules)
        registry._children.clear()
        registry._children.update(children)


def random_tree(api: Any, seed: int) -> dict[str, Any]:
    """Five registries in a random tree, each with random names."""
    rng = random.Random(seed)
    tree: dict[str, Any] = {}
    for scope in SCOPES:
        parent = rng.choice(list(tree.values())) if tree else None
        tree[scope] = api.Registry("pet", parent=parent, scope=scope)
        for name in rng.sample(NAMES, 2):
            tree[scope].register_module(name, module=type(f"{scope}_{name}", (), {}))
    return tree


def outcome(call: Any, argument: Any) -> str:
    try:
        found = call(argument)
    except Exception as error:
        return type(error).__name__
    return getattr(found, "__name__", type(found).__name__)


@pytest.mark.parametrize("seed", range(16))
def test_every_look_up_finds_the_same(theirs: Any, seed: int) -> None:
    mine, other = random_tree(ours, seed), random_tree(theirs, seed)
    keys = [*NAMES, *(f"{s}.{n}" for s in SCOPES for n in NAMES)]
    keys += [f"{s}.{t}.{n}" for s in SCOPES for t in SCOPES for n in NAMES[:2]]
    for scope in SCOPES:
        for key in keys:
            expected = outcome(other[scope].get, key)
            assert outcome(mine[scope].get, key) == expected, (scope, key)


@pytest.mark.parametrize("seed", range(4))
def test_every_build_under_every_default_scope_is_the_same(theirs: Any, seed: int) -> None:
    mine, other = random_tree(ours, seed), random_tree(theirs, seed)
    for default in SCOPES:
        with (
            ours.DefaultScope.overwrite_default_scope(default),
            theirs.DefaultScope.overwrite_default_scope(default),
        ):
            for scope in SCOPES:
                for key in (*NAMES, "hound.A", "dog.B"):
                    for inner in (None, "cat"):
                        cfg = {"type": key} | ({"_scope_": inner} if inner else {})
                        expected = outcome(other[scope].build, dict(cfg))
                        got = outcome(mine[scope].build, dict(cfg))
                        missing = {"KeyError", "NotRegisteredError"}
                        assert got == expected or {got, expected} == missing, (scope, cfg)


def test_the_root_registries_are_the_same(theirs: Any) -> None:
    def names(module: Any) -> dict[str, str]:
        roots = {k: v for k, v in vars(module).items() if k.isupper() and hasattr(v, "module_dict")}
        return {k: v.name for k, v in roots.items()}

    assert names(ours.root) == names(theirs.root)


NOT_BY_NAME = {
    # Lightning's strategies stand for these.
    "STRATEGIES": {"SingleDeviceStrategy", "DDPStrategy", "FSDPStrategy", "DeepSpeedStrategy"},
    "MODEL_WRAPPERS": {"MMDeepSpeedEngineWrapper"},
    "RUNNERS": {"FlexibleRunner"},
}


def test_everything_mmengine_registers_is_registered_here(
    theirs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours.count_registered_modules(verbose=False)
    missing = {}
    for name, registry in vars(theirs.root).items():
        if type(registry).__name__ != "Registry":
            continue
        mine: Any = getattr(ours, name)
        monkeypatch.setattr(type(mine), "_theirs", lambda self: None)
        # Other tests register classes of their own.
        own = {n for n, made in registry.module_dict.items() if made.__module__[:4] != "test"}
        names = own - NOT_BY_NAME.get(name, set())
        lacking = [n for n in sorted(names) if "salAI" not in n and n not in mine]
        if lacking:
            missing[name] = lacking
    assert missing == {}


@pytest.fixture
def toolbox(theirs: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A package on MMEngine, whose models build their parts by its registry."""
    package = tmp_path / "mmtoy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "registry.py").write_text(
        "from mmengine.registry import MODELS as ROOT, Registry, HOOKS as ROOT_HOOKS\n"
        "MODELS = Registry('model', parent=ROOT, locations=['mmtoy.models'])\n"
        "def build_hook(cfg, registry):\n"
        "    return ('built by mmtoy', registry, cfg)\n"
        "HOOKS = Registry('hook', parent=ROOT_HOOKS, build_func=build_hook)\n"
        "class EMAHook: pass\n"
        "ROOT_HOOKS.register_module(force=True, module=EMAHook)\n"
    )
    (package / "models.py").write_text(
        "from mmengine.registry import MODELS as ROOT, DefaultScope\n"
        "from mmtoy.registry import MODELS\n"
        "@MODELS.register_module()\n"
        "class Neck: pass\n"
        "@MODELS.register_module()\n"
        "class ToyNet:\n"
        "    def __init__(self, neck):\n"
        "        self.scope = DefaultScope.get_current_instance().scope_name\n"
        "        self.neck = ROOT.build(neck)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield SimpleNamespace(theirs=theirs, cfg={"type": "ToyNet", "neck": {"type": "Neck"}})
    for name in [n for n in sys.modules if n.partition(".")[0] == "mmtoy"]:
        del sys.modules[name]


@pytest.mark.parametrize("how", ["default scope", "prefix", "_scope_"])
def test_a_toolbox_on_mmengine_builds_through_our_registries(toolbox: Any, how: str) -> None:
    cfg = dict(toolbox.cfg)
    if how == "default scope":
        DefaultScope.get_instance("task", scope_name="mmtoy")
    elif how == "_scope_":
        cfg["_scope_"] = "mmtoy"
    else:
        DefaultScope.get_instance("task", scope_name="mmtoy")
        cfg["type"] = "mmtoy.ToyNet"
    net = MODELS.build(cfg)
    assert type(net).__module__ == "mmtoy.models"
    assert type(net.neck).__module__ == "mmtoy.models"
    assert net.scope == "mmtoy"
    current = toolbox.theirs.DefaultScope.get_current_instance()
    assert (current is None) == (how == "_scope_")


def test_a_toolboxs_model_may_have_parts_registered_here(toolbox: Any) -> None:
    @MODELS.register_module()
    class MyNeck:
        pass

    DefaultScope.get_instance("task", scope_name="mmtoy")
    net = MODELS.build({"type": "ToyNet", "neck": {"type": "MyNeck"}})
    assert type(net.neck) is MyNeck
    assert "MyNeck" not in toolbox.theirs.MODELS.module_dict
    with pytest.raises(KeyError, match="Nick is not in the"):
        MODELS.build({"type": "ToyNet", "neck": {"type": "Nick"}})
    assert "MyNeck" not in toolbox.theirs.MODELS.module_dict


def test_a_toolboxs_own_build_function_gets_its_own_registry(toolbox: Any) -> None:
    with HOOKS.switch_scope_and_registry("mmtoy") as registry:
        text, their_registry, cfg = registry.build({"type": "X"})
    assert (text, cfg) == ("built by mmtoy", {"type": "X"})
    assert isinstance(their_registry, toolbox.theirs.Registry)


def test_whose_class_it_is(toolbox: Any) -> None:
    import mmengine.hooks
    import mmengine.visualization

    # A toolbox's class in MMEngine's registry goes before ours, ours before MMEngine's.
    MODELS.get("mmtoy.ToyNet")
    HOOKS.get("mmtoy.Nothing")
    assert HOOKS.get("EMAHook").__module__ == "mmtoy.registry"
    assert HOOKS.get("IterTimerHook").__module__.startswith("mm2pl.")
    assert PARAM_SCHEDULERS.get("LinearLR").__module__.startswith("mm2pl.")
    toolbox.theirs.HOOKS.register_module("OnlyTheirs", module=mmengine.hooks.EMAHook)
    assert HOOKS.get("OnlyTheirs") is mmengine.hooks.EMAHook
    HOOKS.register_module("EMAHook", force=True, module=dict)
    assert HOOKS.get("EMAHook") is dict
    with HOOKS.switch_scope_and_registry("mmtoy") as registry:
        assert registry.get("EMAHook") is dict
        assert "EMAHook" not in registry.module_dict


def test_mmengines_managed_classes_are_got_by_name(theirs: Any) -> None:
    from mmengine.visualization import Visualizer

    built = VISUALIZERS.build({"type": Visualizer, "name": "parity_vis"})
    assert built is Visualizer.get_instance("parity_vis")
    del Visualizer._instance_dict["parity_vis"]


def test_what_is_registered_later_is_seen_on_both_sides(toolbox: Any) -> None:
    with MODELS.switch_scope_and_registry("mmtoy") as registry:
        registry.register_module("Late", module=dict)
        import mmtoy.registry  # type: ignore[import-not-found]

        assert mmtoy.registry.MODELS.get("Late") is dict
        mmtoy.registry.MODELS.register_module("Later", module=list)
        assert registry.get("Later") is list
    assert MODELS.children["mmtoy"] is registry
    assert "mmtoy" in ours.Registry.all_scopes()
