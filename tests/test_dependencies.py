"""Who may import whom, read from the sources: imports at the top and inside functions, and dotted strings.

A string such as ``"mm2pl.model"`` is imported later by whoever reads it, so it counts as an import.
What only type checkers see does not.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import mm2pl

ROOT = Path(mm2pl.__file__).parent

ORDER = """
adverts closest errors loading version
lean
ops
mm2pl manager compat device
logging dist
utils
fileio structures
config registry
checkpoint dataset
model optim evaluator analysis visualization
plan infer
hub
run
hooks runs
lightning
_strategy check
runner
mmcv testing
cli
__main__ locations
"""
"""The rooms, lowest first: each imports only from lines above its own. ``mm2pl`` is the package's own file.

``locations`` names nearly every room, in data that `mm2pl.registry` looks up; so it is last, and nobody imports it.
"""

CLASS_PATHS = {("plan", "lightning")}
"""A plan names classes of the bridge, in LightningCLI's form: text that is printed and that only the bridge imports."""

LIGHTNING = {
    # An MMEngine hook is a Lightning callback.
    "hooks": {"lightning.pytorch.Callback", "lightning.pytorch.callbacks.Checkpoint"},
    "visualization": {
        f"lightning.pytorch.loggers.{name}Logger" for name in ("TensorBoard", "Wandb", "MLFlow")
    },
}
"""All that the rooms below the bridge import of Lightning."""

LATE: dict[str, dict[str, str]] = {
    "mm2pl.checkpoint.kinds": {"torch": "2.66 s: torch.distributed.tensor"},
    "mm2pl.checkpoint.loader": {
        "mm2pl.checkpoint.sharded": "3.27 s: torch.distributed.checkpoint",
        "pavi": "optional",
    },
    "mm2pl.checkpoint.model_zoo": {"torchvision": "optional"},
    "mm2pl.check.trial": {"resource": "optional: not on Windows"},
    "mm2pl.cli": {"mm2pl.cli.lightning_cli": "4.88 s: lightning"},
    "mm2pl.cli.browse": {
        "mm2pl.dataset.build": "2.30 s: torch",
        "mm2pl.visualization.browse": "2.30 s: torch",
    },
    "mm2pl.cli.check": {
        "lightning": "4.88 s: lightning",
        "mm2pl.check": "4.88 s: lightning",
        "mm2pl.cli.lightning_cli": "4.88 s: lightning",
        "mm2pl.cli.parts": "4.88 s: lightning",
    },
    "mm2pl.cli.compare": {"mm2pl.runs.weights": "2.30 s: torch"},
    "mm2pl.cli.convert_ckpt": {"mm2pl.checkpoint.format": "2.30 s: torch"},
    "mm2pl.cli.faults": {"mm2pl.lightning.failures": "4.88 s: lightning"},
    "mm2pl.cli.merging": {"mm2pl.hooks": "2.30 s: torch", "mm2pl.registry": "2.30 s: torch"},
    "mm2pl.cli.migrate": {
        "mm2pl.mmcv": "0.20 s",
        "mm2pl.mmcv.codemod": "0.20 s",
        "mm2pl.mmcv.migration.check": "4.88 s: lightning",
        "mm2pl.mmcv.migration.config": "0.20 s",
        "mm2pl.mmcv.migration.decisions": "0.20 s",
        "mm2pl.mmcv.migration.files": "0.20 s",
        "mm2pl.mmcv.migration.html": "0.20 s",
    },
    "mm2pl.cli.plot_log": {"mm2pl.runs.picture": "0.01 s: matplotlib"},
    "mm2pl.cli.profile": {
        "mm2pl.check.profile": "4.88 s: lightning",
        "mm2pl.cli.check": "4.88 s: lightning",
    },
    "mm2pl.cli.publish": {"mm2pl.runs.publish": "2.30 s: torch"},
    "mm2pl.cli.run": {
        "lightning": "4.88 s",
        "mm2pl.cli.lightning_cli": "4.88 s: lightning",
    },
    "mm2pl.cli.startup.sitecustomize": {
        "mm2pl.cli.faults": "0.01 s",
        "mm2pl.compat": "0.01 s",
    },
    "mm2pl.config.config": {"mm2pl.config.safe": "0.03 s"},
    "mm2pl.config.computed_base": {
        "mm2pl.config.safe": "0.03 s",
        "mm2pl.config.safe.interpreter": "0.03 s",
    },
    "mm2pl.config.document": {"yaml": "0.02 s"},
    "mm2pl.config.safe.sandbox": {"yaml": "0.02 s"},
    "mm2pl.evaluator.torchmetric": {
        "mm2pl.evaluator.torchmetric_adapter": "2.47 s: torchmetrics",
    },
    "mm2pl.fileio.backends.base": {"fsspec": "0.10 s"},
    "mm2pl.fileio.backends.petrel": {
        "mm2pl.fileio.backends.petrel_files": "0.10 s: fsspec",
        "petrel_client": "optional",
    },
    "mm2pl.fileio.handlers": {"yaml": "0.02 s"},
    "mm2pl.fileio.io": {"fsspec": "0.10 s"},
    "mm2pl.infer.infer": {"rich": "optional"},
    "mm2pl.logging.history_buffer": {"numpy": "0.18 s", "torch": "2.30 s"},
    "mm2pl.logging.message_hub": {
        "mm2pl.logging.storable": "2.30 s: torch",
        "torch": "2.30 s",
    },
    "mm2pl.mmcv.codemod.run": {
        "libcst": "optional",
        "mm2pl.mmcv.codemod.rewrite": "optional: libcst",
    },
    "mm2pl.mmcv.migration.curves": {
        "mm2pl.mmcv.schedules": "2.19 s: torch",
        "mm2pl.optim.simulate": "2.19 s: torch",
    },
    "mm2pl.mmcv.migration.files": {"yaml": "0.02 s"},
    "mm2pl.model.utils": {"mmcv": "optional"},
    "mm2pl.model.wrappers": {
        "mm2pl.model.wrappers.fully_sharded_distributed": "1.26 s: torch.distributed.fsdp",
    },
    "mm2pl.optim.optimizer": {
        "mm2pl.optim.optimizer.zero_optimizer": "1.76 s: torch.distributed.optim",
    },
    "mm2pl.optim.optimizer.amp_optimizer_wrapper": {"torch": "1.28 s: torch.distributed.fsdp"},
    "mm2pl.plan.plot": {
        "matplotlib": "optional",
        "mm2pl.dataset.build": "0.90 s: torch",
        "mm2pl.dataset.utils": "0.90 s: torch",
        "mm2pl.optim.optimizer.builder": "0.90 s: torch",
    },
    "mm2pl.plan.processes": {"torch": "2.30 s"},
    "mm2pl.run.environment": {"resource": "optional: not on Windows"},
    "mm2pl.runs.page": {"mm2pl.runs.picture": "0.01 s: matplotlib"},
    "mm2pl.runs.picture": {"matplotlib": "optional"},
    "mm2pl.runs.publish": {"safetensors": "optional"},
    "mm2pl.runs.tables": {"rich": "optional"},
    "mm2pl.testing._internal": {"torch": "optional: its test parts need expecttest"},
    "mm2pl.utils.dl_utils.collect_env": {"torch": "0.14 s: torch.utils.cpp_extension"},
    "mm2pl.utils.package_utils": {"importlib": "0.02 s: importlib.metadata"},
    "mm2pl.utils.progressbar_rich": {"rich": "optional"},
    "mm2pl.utils.version_utils": {"packaging": "0.01 s"},
    "mm2pl.utils.picture_path": {"matplotlib": "optional"},
    "mm2pl.visualization.browse": {"matplotlib": "optional"},
    "mm2pl.visualization.drawing": {"matplotlib": "optional"},
    "mm2pl.visualization.featmap": {"matplotlib": "optional"},
    "mm2pl.visualization.logger_backends": {
        "lightning": "4.88 s",
        "mm2pl.visualization.event_files": "4.88 s: lightning",
    },
    "mm2pl.visualization.utils": {"matplotlib": "optional"},
    "mm2pl.visualization.visualizer": {"cv2": "optional", "matplotlib": "optional"},
}
"""Imports inside functions, and why: optional, or the CPU time that importing the file would take on top.

Measured in new processes on a machine where torch takes 2.3 s.
"""


class Import(NamedTuple):
    """One module, or name in a module, that a file asks for."""

    name: str
    late: bool = False


def seen_by_type_checkers_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, package: str, late: bool = False) -> Iterator[Import]:
    """Yield what a file imports, and the dotted strings in it that begin with ``mm2pl.``."""
    for node in ast.iter_child_nodes(tree):
        if seen_by_type_checkers_only(node):
            continue
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")
            above = parts[: len(parts) + 1 - node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            yield from (Import(f"{base}.{alias.name}", late) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            # The first part of f"mm2pl.mmcv.adapters.{name}" ends with a dot.
            named = re.fullmatch(r"(mm2pl(?:\.\w+)+)\.?", node.value)
            # A file's own packages are imported before it anyhow.
            if named and not f"{package}.".startswith(f"{named[1]}."):
                yield Import(named[1])
        function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from imports(node, package, late or function)


def read(root: Path) -> dict[str, list[Import]]:
    """Return every module of a package, and what it asks for."""
    found = {}
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if path.stem == "__init__" else parts)
        found[name] = list(imports(ast.parse(path.read_text()), ".".join(parts[:-1])))
    return found


MODULES = read(ROOT)


def module_of(name: str) -> str | None:
    """Return the module of ours that a dotted name is, or is in."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name or None


def room(module: str) -> str:
    """Return the folder, or the file, below the package that a module is in."""
    return f"{module}.{module}".split(".")[1]


FILES = {
    module: {t for i in asked if (t := module_of(i.name)) not in (None, module)}
    for module, asked in MODULES.items()
}
ROOMS: dict[str, set[str]] = {}
for _file, _asked in FILES.items():
    ROOMS.setdefault(room(_file), set()).update({room(t) for t in _asked} - {room(_file)})
EDGES = {(one, other) for one, others in ROOMS.items() for other in others}


def circles(graph: dict[str, set[str]]) -> set[frozenset[str]]:
    """Return the largest sets in which each reaches each.

    >>> [sorted(c) for c in circles({"a": {"b"}, "b": {"a", "c"}, "c": set()})]
    [['a', 'b']]
    """
    reached: dict[str, set[str]] = {}
    for start in graph:
        todo, seen = [start], reached.setdefault(start, set())
        while todo:
            new = graph.get(todo.pop(), set()) - seen
            seen |= new
            todo += new
    around = (frozenset(n for n in reached[one] if one in reached.get(n, ())) for one in graph)
    return {circle for circle in around if circle}


def test_rooms_import_only_rooms_below_them():
    level = {name: i for i, line in enumerate(ORDER.strip().splitlines()) for name in line.split()}
    assert level.keys() == ROOMS.keys()
    upwards = {(one, other) for one, other in EDGES if level[other] >= level[one]}
    assert upwards == CLASS_PATHS


def test_no_circle_of_rooms():
    kept = EDGES - CLASS_PATHS
    assert not circles({one: {b for a, b in kept if a == one} for one in ROOMS})


def test_no_circle_of_more_than_three_files():
    inside = {f: {t for t in asked if room(t) == room(f)} for f, asked in FILES.items()}
    assert [sorted(circle) for circle in circles(inside) if len(circle) > 3] == []


def test_imports_inside_functions_have_a_reason():
    found: dict[str, set[str]] = {}
    for module, asked in MODULES.items():
        names = {module_of(i.name) or i.name.partition(".")[0] for i in asked if i.late}
        if names:
            found[module] = names
    assert found == {module: set(reasons) for module, reasons in LATE.items()}
    reasons = [reason for each in LATE.values() for reason in each.values()]
    assert [r for r in reasons if not re.fullmatch(r"(optional|\d\.\d\d s)(: .+)?", r)] == []


def test_rooms_below_the_bridge_know_nothing_of_lightning():
    below = ORDER.partition("\nlightning\n")[0].split()
    found: dict[str, set[str]] = {}
    for module, asked in MODULES.items():
        names = {
            i.name for i in asked if i.name.partition(".")[0] in ("lightning", "pytorch_lightning")
        }
        if names and room(module) in below:
            found.setdefault(room(module), set()).update(names)
    assert found == LIGHTNING


def test_nothing_imports_mmengine_at_the_top():
    others = ("mmengine", "mmcv", "addict", "yapf", "cv2")
    top = {(module, i.name) for module, asked in MODULES.items() for i in asked if not i.late}
    assert {(m, name) for m, name in top if name.partition(".")[0] in others} == set()
