from __future__ import annotations

import sys
from types import ModuleType

import pytest

from mm2pl.registry import DefaultScope, Registry, RegistryKeyError
from mm2pl.registry.registry import import_scope


@pytest.fixture
def tree() -> dict[str, Registry]:
    """Dogs → hounds → little hounds, and dogs → samoyeds."""
    dogs = Registry("dogs", scope="dog")
    hounds = Registry("dogs", parent=dogs, scope="hound")
    little = Registry("dogs", parent=hounds, scope="little_hound")
    samoyeds = Registry("dogs", parent=dogs, scope="samoyed")
    tree = {r.scope: r for r in (dogs, hounds, little, samoyeds)}
    for scope, name in {
        "dog": "GoldenRetriever",
        "hound": "BloodHound",
        "little_hound": "Dachshund",
        "samoyed": "MySamoyed",
    }.items():
        tree[scope].register_module(module=type(name, (), {}), name=name)
    return tree


@pytest.mark.parametrize(
    ("scope", "key", "owner"),
    [
        ("dog", "GoldenRetriever", "dog"),
        ("hound", "GoldenRetriever", "dog"),  # a parent's
        ("little_hound", "GoldenRetriever", "dog"),  # a grandparent's
        ("dog", "BloodHound", None),  # a child's only by its scope
        ("dog", "hound.BloodHound", "hound"),
        ("hound", "hound.BloodHound", "hound"),
        ("hound", "dog.GoldenRetriever", "dog"),
        ("hound", "hound.GoldenRetriever", None),  # one's own scope does not ask the parents
        ("dog", "hound.GoldenRetriever", "dog"),  # but a child's does
        ("dog", "hound.little_hound.Dachshund", "little_hound"),
        ("dog", "little_hound.Dachshund", None),  # only children of self and root
        ("hound", "little_hound.Dachshund", "little_hound"),
        ("samoyed", "hound.BloodHound", "hound"),  # a sibling's, by way of the root
        ("little_hound", "samoyed.MySamoyed", "samoyed"),
        ("dog", "no_such_scope.BloodHound", None),
        ("dog", "json", None),  # a short name is never an import path
        ("dog", "collections.OrderedDict", "collections"),
        ("dog", "json.", None),
        ("dog", ".json", None),
        ("dog", "", None),
    ],
)
def test_get(tree: dict[str, Registry], scope: str, key: str, owner: str | None) -> None:
    found = tree[scope].get(key)
    if owner == "collections":
        import collections

        assert found is collections.OrderedDict
    else:
        assert found is (tree[owner].module_dict[key.rpartition(".")[2]] if owner else None)
    assert (key in tree[scope]) is (owner is not None)


def test_get_of_no_string(tree: dict[str, Registry]) -> None:
    with pytest.raises(TypeError, match="must be a str, got <class 'int'>"):
        tree["dog"].get(1)  # type: ignore[arg-type]


def test_register_as_decorator_call_and_under_several_names() -> None:
    cats = Registry("cat", scope="cat")

    @cats.register_module()
    class Siamese:
        pass

    @cats.register_module(name=["M", "Munchkin"])
    def munchkin() -> str:
        return "short"

    assert cats.register_module("S2", module=Siamese) is Siamese
    assert cats.module_dict == {
        "Siamese": Siamese,
        "M": munchkin,
        "Munchkin": munchkin,
        "S2": Siamese,
    }
    assert len(cats) == 4
    assert cats.build({"type": "M"}) == "short"
    assert repr(cats).splitlines()[:2] == [
        "Registry of cat (scope cat)",
        f"  M         {munchkin}",
    ]


def test_a_name_is_taken_unless_forced() -> None:
    cats = Registry("cat", scope="cat")
    cats.register_module("A", module=dict)
    with pytest.raises(RegistryKeyError, match=r"^A is already registered in cat at builtins"):
        cats.register_module("A", module=list)
    cats.register_module("A", force=True, module=list)
    assert cats.get("A") is list


def test_a_cell_of_a_notebook_is_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cats = Registry("cat", scope="cat")

    def define(name: str) -> type:
        return cats.register_module("A")(type(name, (), {"__qualname__": name}))

    define("A")
    with pytest.raises(RegistryKeyError, match="A is already registered in cat"):
        define("A")  # in a script
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)
    second = define("A")
    assert cats.get("A") is second
    with pytest.raises(RegistryKeyError, match="A is already registered in cat"):
        define("B")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"module": 1}, "module must be Callable, but got <class 'int'>"),
        ({"force": 1}, "force must be a boolean, but got <class 'int'>"),
        ({"name": object}, "name must be None, an instance of str, or a sequence of str"),
    ],
)
def test_wrong_registrations(arguments: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Registry("cat", scope="cat").register_module(**arguments)


def test_a_decorator_without_parentheses_is_told() -> None:
    with pytest.raises(TypeError, match="is register_module\\(\\) missing its parentheses"):
        Registry("cat", scope="cat").register_module(dict)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "make",
    [
        lambda dogs: Registry("x", parent="dogs"),  # type: ignore[arg-type]
        lambda dogs: Registry("x", scope=1),  # type: ignore[arg-type]
        lambda dogs: Registry("x", parent=dogs, scope="hound"),
    ],
    ids=["parent", "scope", "scope taken"],
)
def test_wrong_registries(tree: dict[str, Registry], make: object) -> None:
    with pytest.raises(AssertionError, match=r"should be a|scope hound exists in dogs registry"):
        make(tree["dog"])  # type: ignore[operator]


def test_scope_is_the_package_of_the_code_that_makes_it() -> None:
    assert Registry("x").scope == __name__.split(".")[0]
    namespace: dict = {"Registry": Registry, "__name__": "toybox.sub.models"}
    exec("made = Registry('x')", namespace)
    assert namespace["made"].scope == "toybox"


def test_build_func_is_inherited() -> None:
    def build(cfg: dict, registry: Registry, extra: int = 0) -> tuple:
        return cfg, registry, extra

    parent = Registry("p", build_func=build, scope="p")
    child = Registry("c", parent=parent, scope="c")
    assert child.build({"a": 1}, extra=3) == ({"a": 1}, child, 3)
    other = Registry("d", parent=parent, scope="d", build_func=lambda cfg, registry: "own")
    assert other.build({}) == "own"


def test_root_and_names(tree: dict[str, Registry]) -> None:
    little = tree["little_hound"]
    assert little.root is tree["dog"]
    assert (little.name, little.scope, little.parent) == ("dogs", "little_hound", tree["hound"])
    assert tree["dog"].children == {"hound": tree["hound"], "samoyed": tree["samoyed"]}


@pytest.mark.parametrize(
    ("start", "scope", "expected"),
    [
        ("dog", "little_hound", "little_hound"),
        ("samoyed", "little_hound", "little_hound"),
        ("little_hound", "dog", "dog"),
        ("hound", None, "hound"),
        ("hound", "mm2pl", "hound"),  # known, but not in this tree: the registry itself
        ("hound", "mmengine", "hound"),
    ],
)
def test_switch_scope_and_registry(
    tree: dict[str, Registry], start: str, scope: str | None, expected: str
) -> None:
    with tree[start].switch_scope_and_registry(scope) as registry:
        assert registry is tree[expected]
        current = DefaultScope.get_current_instance()
        assert (current and current.scope_name) == scope
    assert DefaultScope.get_current_instance() is None


def test_switches_nest_and_survive_exceptions(tree: dict[str, Registry]) -> None:
    DefaultScope.get_instance("task", scope_name="hound")
    dogs = tree["dog"]
    with dogs.switch_scope_and_registry("dog"):
        with dogs.switch_scope_and_registry("samoyed") as inner:
            assert inner is tree["samoyed"]
        with pytest.raises(KeyError), dogs.switch_scope_and_registry("samoyed"):
            _ = {}[1]
        assert DefaultScope.get_current_instance().scope_name == "dog"  # type: ignore[union-attr]
    assert DefaultScope.get_current_instance().scope_name == "hound"  # type: ignore[union-attr]


def test_an_unknown_default_scope_is_an_error(tree: dict[str, Registry]) -> None:
    with (
        pytest.raises(
            RegistryKeyError,
            match=r"No registry has the scope 'hond'.*hound.*Did you mean 'hound'\?.*in hond/registry.py",
        ),
        tree["dog"].switch_scope_and_registry("hond"),
    ):
        pass
    DefaultScope.get_instance("task", scope_name="mmyolo")
    with pytest.raises(RegistryKeyError, match="pip install mmyolo"):
        tree["dog"].build({"type": "GoldenRetriever"})


@pytest.fixture
def toybox(tmp_path, monkeypatch):
    """A package with a registry in ``toybox/registry.py`` and a model at its location."""
    package = tmp_path / "toybox"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "registry.py").write_text(
        "from mm2pl.registry import MODELS as ROOT, Registry\n"
        "MODELS = Registry('model', parent=ROOT, locations=['toybox.models'])\n"
    )
    (package / "models.py").write_text(
        "from toybox.registry import MODELS\n"
        "COUNT = []\n"
        "COUNT.append(1)\n"
        "@MODELS.register_module()\n"
        "class ToyNet:\n"
        "    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield package
    for name in [n for n in sys.modules if n.partition(".")[0] == "toybox"]:
        del sys.modules[name]


def test_a_prefix_imports_its_package_and_a_miss_its_locations(toybox) -> None:
    from mm2pl.registry import MODELS

    assert "toybox" not in sys.modules
    net = MODELS.get("toybox.ToyNet")
    assert net.__module__ == "toybox.models"
    assert MODELS.get("ToyNet") is None
    DefaultScope.get_instance("task", scope_name="toybox")
    assert type(MODELS.build({"type": "ToyNet"})) is net
    with pytest.raises(RegistryKeyError, match="ToyNett is not in the toybox::model registry"):
        MODELS.build({"type": "ToyNett"})
    assert sys.modules["toybox.models"].COUNT == [1]


def test_a_broken_location_is_tried_again_and_not_hidden(toybox) -> None:
    from mm2pl.registry import MODELS

    (toybox / "models.py").write_text("import no_such_package_at_all\n")
    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match="no_such_package_at_all"):
            MODELS.get("toybox.ToyNet")


def test_a_package_that_fails_to_import_is_named(toybox) -> None:
    from mm2pl.registry import MODELS

    (toybox / "__init__.py").write_text("import no_such_package_at_all\n")
    assert "no_such_package_at_all" in str(import_scope("toybox"))
    with pytest.raises(
        RegistryKeyError, match="Importing toybox failed: No module named 'no_such_package_at_all'"
    ):
        MODELS.build({"type": "toybox.ToyNet"})
    DefaultScope.get_instance("task", scope_name="toybox")
    with pytest.raises(
        RegistryKeyError, match=r"Importing toybox.registry failed: No module named 'no_such_pack"
    ):
        MODELS.build({"type": "ToyNet"})


def test_old_toolboxes_register_themselves_on_request(monkeypatch) -> None:
    asked = []
    package, utils = ModuleType("mmocr"), ModuleType("mmocr.utils")
    utils.register_all_modules = asked.append  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmocr", package)
    monkeypatch.setitem(sys.modules, "mmocr.utils", utils)
    registry = Registry("model", scope="mmocr")
    assert registry.get("Anything") is None
    assert registry.get("Anything") is None
    assert asked == [False]


def test_a_project_with_an_old_toolboxes_name_registers_by_its_imports(monkeypatch) -> None:
    """Such as a copy of MMSegmentation 0.x, which has no ``register_all_modules``."""
    monkeypatch.setitem(sys.modules, "mmocr", ModuleType("mmocr"))
    monkeypatch.setitem(sys.modules, "mmocr.utils", ModuleType("mmocr.utils"))
    registry = Registry("model", scope="mmocr")
    registry.register_module(name="Own", module=dict)
    assert registry.get("Anything") is None
    assert registry.get("Own") is dict
