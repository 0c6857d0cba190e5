"""`import mmengine` served by mm2pl, in processes of its own: what is imported once stays imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HIDDEN = """
import sys, importlib.util
import mm2pl.compat.alias as alias
alias.is_installed = lambda: False
"""
"""MMEngine may be installed where these tests run."""

TOOLBOX = {
    "__init__.py": "import mmengine\nassert mmengine.__version__ == '0.10.7'\n",
    "registry.py": """
from mmengine.registry import MODELS as ROOT
from mmengine.registry import Registry
MODELS = Registry("model", parent=ROOT, scope="shapes", locations=["shapes.models"])
""",
    "models.py": """
from mmengine.model import BaseModel
from shapes.registry import MODELS
@MODELS.register_module()
class Circle(BaseModel):
    def forward(self, inputs):
        return inputs
""",
}


def python(code: str, cwd: Path, hidden: bool = True) -> str:
    """Run code in a new process; return what it prints."""
    text = (HIDDEN if hidden else "import sys\n") + code
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a small toolbox, written for MMEngine."""
    for name, text in TOOLBOX.items():
        path = tmp_path / "shapes" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_modules_and_classes_are_the_same_objects(tmp_path):
    code = """
from mm2pl.compat import alias_mmengine
alias_mmengine()
import mmengine.utils.path, mmengine.hooks, mm2pl.utils.path, mm2pl.hooks
from mmengine import Config
from mmengine.registry import MODELS
from mmengine.runner.base_loop import BaseLoop
import mm2pl
assert mmengine.utils.path is mm2pl.utils.path
assert mmengine.hooks.Hook is mm2pl.hooks.Hook
assert Config is mm2pl.Config and MODELS is mm2pl.registry.MODELS
assert BaseLoop is mm2pl.runner.BaseLoop
print(mmengine.__version__, mmengine.version.version_info, mm2pl.__version__ == mmengine.__version__)
print(mm2pl.hooks.__name__, mm2pl.hooks.__spec__.name)
"""
    out = python(code, tmp_path).splitlines()
    assert out == ["0.10.7 (0, 10, 7) False", "mm2pl.hooks mm2pl.hooks"]


def test_it_leaves_nothing_behind(folder):
    code = """
sys.path.insert(0, "")
from mm2pl.compat import alias_mmengine
import mm2pl.hooks, mm2pl.model, mm2pl.utils.path, mm2pl.runner.runner
from mm2pl.registry import DefaultScope, Registry, MODELS, HOOKS
def state():
    return (
        set(sys.modules), list(sys.meta_path), dict(DefaultScope._instance_dict),
        {id(r): (dict(r.module_dict), dict(r._children), r._imported) for r in Registry._all},
        {name: sorted(vars(m)) for name, m in sys.modules.items() if name.startswith("mm2pl")},
    )
MODELS.get("BaseModel"), HOOKS.get("EMAHook")
before = state()
for _ in range(2):
    with alias_mmengine() as alias:
        import mmengine.runner.amp, mmengine.utils.path
        import shapes.registry
        @HOOKS.register_module()
        class Scaffold: pass
        DefaultScope.get_instance("run", scope_name="shapes")
        model = MODELS.build(dict(type="shapes.Circle"))
        assert alias.active and type(model).__module__ == "shapes.models"
        assert MODELS.children["shapes"].get("Circle") is type(model)
    assert not alias.active
    del model, Scaffold, shapes, mmengine
    after = state()
    for old, new in zip(before, after):
        assert old == new, [set(old) ^ set(new), [k for k in old if isinstance(old, dict) and old[k] != new.get(k)]]
try:
    import mmengine
except ModuleNotFoundError:
    print("gone")
else:
    print("real", mmengine.__file__ and "mm2pl" not in mmengine.__file__)
"""
    assert python(code, folder) in ("gone", "real True")


BROKEN = {
    "half.py": "from mmengine.hooks import Hook\nfrom shapes.models import Circle\nimport no_such_package\n",
    "../torn/__init__.py": "import torn.parts\nraise ValueError('torn')\n",
    "../torn/parts.py": """
from mmengine.registry import HOOKS, Registry
TORN = Registry("hook", parent=HOOKS, scope="torn")
@HOOKS.register_module()
class Rip: pass
""",
}
"""Modules that fail while they are imported, after they have registered something."""

STATE = """
sys.path.insert(0, "")
from mm2pl.compat import alias_mmengine
import mm2pl.hooks, mm2pl.model, mm2pl.utils.path, mm2pl.runner.runner
from mm2pl.registry import DefaultScope, Registry, MODELS, HOOKS
MODELS.get("BaseModel"), HOOKS.get("EMAHook")
def state():
    return (
        set(sys.modules), list(sys.meta_path), dict(DefaultScope._instance_dict),
        {id(r): (dict(r.module_dict), dict(r._children), r._imported) for r in Registry._all},
    )
before = state()
"""

ENDINGS = {
    "a module of a toolbox fails": "import shapes.half",
    "a toolbox fails": "import torn",
    "a name is missing": "from mmengine.utils import nothing",
    "the block fails": "import shapes.models; raise KeyError('block')",
    "inside another alias": """
with alias_mmengine() as inner:
    import shapes.models
    assert not inner.active
import mmengine.fileio
assert "shapes" in sys.modules and "shapes" in MODELS.children
inner.remove()
import mmengine.utils.path
raise LookupError("the outer one serves to its end")
""",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS.keys())
def test_it_leaves_nothing_behind_however_it_ends(folder, ending):
    for name, text in BROKEN.items():
        path = folder / "shapes" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    code = f"""{STATE}
for _ in range(2):
    try:
        with alias_mmengine() as alias:
            exec({ending!r})
    except (ImportError, ValueError, LookupError) as error:
        print(type(error).__name__)
        del error
    assert not alias.active
    for old, new in zip(before, state()):
        assert old == new, set(old) ^ set(new)
"""
    assert len(python(code, folder).splitlines()) == 2


def test_registries_loaded_meanwhile_keep_only_what_is_ours(folder):
    code = """
sys.path.insert(0, "")
from mm2pl.compat import alias_mmengine
assert "mm2pl.registry" not in sys.modules
with alias_mmengine():
    import shapes.models
from mm2pl.registry import MODELS
print(list(MODELS.children), "Circle" in MODELS.module_dict, "shapes" in sys.modules, "torch" in sys.modules)
"""
    assert python(code, folder) == "[] False False True"


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import mmengine.nowhere", "nowhere"),
        ("import mmengine.utils.path.deeper", "utils.path.deeper"),
        ("from mmengine import nothing", "nothing"),
        ("from mmengine.utils import nothing", "utils.nothing"),
        ("from mmengine.utils.path import nothing", "utils.path.nothing"),
        ("from mmengine.runner import nothing", "runner.nothing"),
    ],
)
def test_a_name_that_is_missing_says_what_to_install(tmp_path, statement, name):
    code = f"""
from mm2pl.compat import alias_mmengine
with alias_mmengine():
    try:
        {statement}
    except ImportError as error:
        print(error)
"""
    said = python(code, tmp_path)
    assert f"has no {name!r}" in said
    assert "`pip install mmengine==0.10.7`" in said


def test_it_steps_aside_where_mmengine_is_installed(tmp_path):
    package = tmp_path / "mmengine"
    package.mkdir()
    (package / "__init__.py").write_text("__version__ = 'real'\n")
    code = """
import warnings
sys.path.insert(0, "")
from mm2pl.compat import alias_mmengine
before = list(sys.meta_path)
with alias_mmengine() as alias, warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import mmengine
    # Where MMCV has no compiled operators, ours are found all the same.
    assert [f for f in sys.meta_path if f is not alias._mmcv_ext] == before
    assert not alias.active and not alias_mmengine(say_so=True).active
assert sys.meta_path == before
print(mmengine.__version__, caught[0].message)
"""
    assert python(code, tmp_path, hidden=False).startswith("real MMEngine is installed, so")
    assert "mmengine" not in sys.modules or sys.modules["mmengine"].__version__ != "real"


def test_an_empty_folder_of_that_name_is_no_mmengine(tmp_path):
    (tmp_path / "mmengine").mkdir()
    code = """
from importlib.machinery import PathFinder
sys.meta_path[:] = [f for f in sys.meta_path if f is not PathFinder]
class Namespace:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return PathFinder.find_spec(name, ["."]) if name == "mmengine" else PathFinder.find_spec(name, path)
sys.meta_path.append(Namespace)
from mm2pl.compat import alias_mmengine
with alias_mmengine() as alias:
    import mmengine
    print(alias.active, mmengine.__version__)
"""
    assert python(code, tmp_path, hidden=False) == "True 0.10.7"


def test_only_the_first_of_two_aliases_serves(tmp_path):
    code = """
from mm2pl.compat import alias_mmengine
with alias_mmengine() as outer:
    with alias_mmengine() as inner:
        print(outer.active, inner.active)
    import mmengine
    print(mmengine.__version__)
outer.remove()
"""
    assert python(code, tmp_path) == "True False\n0.10.7"


IMPORTS = {
    "default_scope": """
from mm2pl.registry import MODELS
with MODELS.switch_scope_and_registry("shapes") as registry:
    print(registry.get("Circle").__module__)
""",
    "custom_imports": """
from mm2pl.utils import import_modules_from_strings
print(import_modules_from_strings(["shapes.models"])[0].__name__)
""",
    "dotted type": """
from mm2pl.registry import MODELS
print(type(MODELS.build(dict(type="shapes.models.Circle"))).__module__)
""",
    "pure-Python config": """
from mm2pl.config.lazy import LazyObject
print(LazyObject("shapes.models", "Circle").build().__module__)
""",
}


@pytest.mark.parametrize("code", IMPORTS.values(), ids=IMPORTS.keys())
def test_a_configs_packages_get_it_unasked(folder, code):
    absent = """
sys.path.insert(0, "")
class Absent:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "mmengine":
            raise ModuleNotFoundError("No module named 'mmengine'", name="mmengine")
sys.meta_path.insert(0, Absent)
"""
    assert python(absent + code, folder) == "shapes.models"


def test_a_spawned_process_has_it_too(folder):
    """Where MMEngine is installed too, and where its own code asks for the alias again."""
    (folder / "worker.py").write_text("""
from mm2pl.compat import alias_mmengine
from mm2pl.compat.alias import is_installed
assert not is_installed()
alias = alias_mmengine()
import shapes.models
assert alias.active and shapes.models.BaseModel.__module__.startswith("mm2pl.")
""")
    code = """
import importlib, multiprocessing
from mm2pl.compat import alias_mmengine
sys.path.insert(0, "")
with alias_mmengine():
    for name in ("shapes.models", "worker"):
        process = multiprocessing.get_context("spawn").Process(
            target=importlib.import_module, args=(name,)
        )
        process.start()
        process.join()
        print(process.exitcode)
print(any("spawned" in path for path in sys.path))
"""
    assert python(code, folder).split() == ["0", "0", "False"]
