"""Compare the schedules and param groups of released configs with MMEngine's.

    python -m tests.parity.optim_corpus [FOLDER ...]

The folders are those of ``config_corpus``; releases for MMCV 1.x have nothing to compare. Each config
is loaded and built twice, once by MMEngine and once by mm2pl in a process where MMEngine is not
imported, and what the two record is compared:

- every ``param_scheduler``: lr, momentum, weight decay and betas of two param groups during each
  iteration of the whole run, with epochs of 137 iterations;
- every ``paramwise_cfg`` and ``constructor``: the groups over a model with such parameter names.

Configs that say the same are built once. Nothing is sampled: where values are not looked at, no
scheduler had anything left to change.

The toolboxes' own schedulers and constructors take part, run from their sources with only the names
of the packages changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import os
import re
import subprocess
import sys
import tempfile
import types
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tests.parity.config_corpus import download

EPOCH_LENGTH = 137
ENTRIES = ("lr", "momentum", "weight_decay", "betas")
SOURCES = ("engine/schedulers", "engine/optimizers", "engine/optim_wrappers")
REGISTRIES = ("PARAM_SCHEDULERS", "OPTIM_WRAPPER_CONSTRUCTORS", "OPTIMIZERS")


def configs(package: Path) -> list[Path]:
    """Return the config files of an unpacked package, bases left out."""
    found = sorted(package.glob("*/.mim/configs/**/*.py"))
    return [path for path in found if "_base_" not in path.parts]


def record(engine: str, package: Path) -> dict[str, Any]:
    """Return what ``engine`` (``mmengine`` or ``mm2pl``) makes of each config."""
    warnings.simplefilter("ignore")
    load_toolbox(engine, package)
    importlib.import_module(f"{engine}.logging").MMLogger.get_instance("corpus").setLevel("ERROR")
    load = importlib.import_module(f"{engine}.config").Config.fromfile
    seen: dict[str, str] = {}
    results: dict[str, Any] = {}
    for path in configs(package):
        name = str(path.relative_to(package))
        try:
            cfg = load(str(path), import_custom_modules=False)
        except Exception as error:
            results[name] = {"unloadable": type(error).__name__}
            continue
        results[name] = {
            "scheduler": once(seen, scheduler_key(cfg), curve, engine, cfg),
            "groups": once(seen, groups_key(cfg), groups, engine, cfg),
        }
    assert engine == "mmengine" or "mmengine" not in sys.modules, "mm2pl alone was to be recorded"
    return results


def load_toolbox(engine: str, package: Path) -> None:
    """Run the package's schedulers and constructors on ``engine``."""
    registry = importlib.import_module(f"{engine}.registry")
    own = types.ModuleType("toolbox_registry")
    for name in REGISTRIES:
        # Replacing built-in names, as MMPose does with ConstantLR, is what a scope would do.
        root = getattr(registry, name)
        vars(own)[name] = types.SimpleNamespace(
            register_module=lambda root=root, **_: root.register_module(force=True)
        )
    sys.modules["toolbox_registry"] = own
    for folder in SOURCES:
        for path in sorted(package.glob(f"*/{folder}/*.py")):
            if path.name != "__init__.py":
                source = re.sub(
                    r"from \w+\.registry import", "from toolbox_registry import", path.read_text()
                )
                exec(compile(source.replace("mmengine", engine), str(path), "exec"), {})


def once(seen: dict[str, str], key: str | None, make: Any, engine: str, cfg: Any) -> str | None:
    """Return a digest of ``make(engine, cfg)``, made once per key; None without a key."""
    if key is None:
        return None
    if key not in seen:
        try:
            seen[key] = make(engine, cfg)
        except Exception as error:
            seen[key] = f"error: {type(error).__name__}: {error}"
    return seen[key]


def scheduler_key(cfg: Any) -> str | None:
    """Return what the curve depends on."""
    if not cfg.get("param_scheduler") or not cfg.get("train_cfg"):
        return None
    length = [cfg["train_cfg"].get(name) for name in ("max_epochs", "max_iters")]
    return "s" + json.dumps([cfg["param_scheduler"], length, optimizer_kind(cfg)], default=str)


def optimizer_kind(cfg: Any) -> str:
    """Return an optimizer with the same kind of momentum."""
    name = str((cfg.get("optim_wrapper") or {}).get("optimizer", {}).get("type", "SGD"))
    return "AdamW" if "Ada" in name or "Lamb" in name else "SGD"


def curve(engine: str, cfg: Any) -> str:
    """Digest the values of each group during each iteration of the run."""
    train_cfg = cfg["train_cfg"]
    by_epoch = "max_epochs" in train_cfg
    max_epochs = train_cfg.get("max_epochs", 1)
    max_iters = train_cfg.get("max_iters", max_epochs * EPOCH_LENGTH)
    wrapper = make_wrapper(engine, optimizer_kind(cfg))
    given = cfg["param_scheduler"]
    scheduler = [without_scope(each) for each in (given if isinstance(given, list) else [given])]
    schedulers = build(engine, scheduler, wrapper, max_epochs, max_iters, by_epoch)
    per_iter = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    per_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch and by_epoch]
    digest = hashlib.sha256()
    seen: Any = None
    iteration = 0
    while iteration < max_iters:
        values = [group.get(entry) for group in wrapper.param_groups for entry in ENTRIES]
        if values != seen:
            digest.update(repr((iteration, values)).encode())  # a float's repr is exact
            seen = values
        # One that is past its end only counts, on either side. Without any, the next epoch is next.
        per_iter = [scheduler for scheduler in per_iter if scheduler._global_step < scheduler.end]
        iteration += 1 if per_iter else EPOCH_LENGTH - iteration % EPOCH_LENGTH
        for scheduler in per_iter:
            scheduler.step()
        if iteration % EPOCH_LENGTH == 0:
            for scheduler in per_epoch:
                scheduler.step()
    return digest.hexdigest()


def without_scope(cfg: Any) -> dict[str, Any]:
    """The toolboxes are registered without their scopes."""
    kind = cfg["type"]
    cfg = {key: value for key, value in cfg.items() if key != "_scope_"}
    return {**cfg, "type": kind.rpartition(".")[2] if isinstance(kind, str) else kind}


def make_wrapper(engine: str, optimizer: str) -> Any:
    params = [{"params": nn.Parameter(torch.zeros(1)), "lr": 1e-3 * k} for k in (1, 7)]
    kwargs = {"momentum": 0.9} if optimizer == "SGD" else {"betas": (0.9, 0.98)}
    made = getattr(torch.optim, optimizer)(params, lr=1e-2, weight_decay=0.05, **kwargs)
    return importlib.import_module(f"{engine}.optim").OptimWrapper(made)


def build(
    engine: str,
    cfg: Any,
    wrapper: Any,
    max_epochs: int,
    max_iters: int,
    by_epoch: bool,
    epoch_length: int = EPOCH_LENGTH,
) -> list[Any]:
    """Build the schedulers as a Runner does; MMEngine's by its Runner's own methods."""
    if engine == "mm2pl":
        from mm2pl.optim import build_param_schedulers

        return build_param_schedulers(  # type: ignore[return-value]
            *(cfg, wrapper),
            max_epochs=max_epochs,
            max_iters=max_iters,
            epoch_length=epoch_length,
            by_epoch=by_epoch,
        )
    from mmengine.logging import MMLogger
    from mmengine.runner import BaseLoop, Runner

    class Loop(BaseLoop):
        def __init__(self) -> None:
            pass

        def run(self) -> None:
            pass

    runner = types.SimpleNamespace(
        _train_loop=Loop(),
        max_epochs=max_epochs,
        max_iters=max_iters,
        train_dataloader=range(epoch_length),
        logger=MMLogger.get_current_instance(),
        optim_wrapper=wrapper,
    )
    runner._build_param_scheduler = types.MethodType(Runner._build_param_scheduler, runner)
    return Runner.build_param_scheduler(runner, cfg)


def groups_key(cfg: Any) -> str | None:
    """Return what the groups depend on."""
    optim_wrapper = cfg.get("optim_wrapper") or {}
    if not optim_wrapper.get("paramwise_cfg") and not optim_wrapper.get("constructor"):
        return None
    return "g" + json.dumps([optim_wrapper, backbone_type(cfg)], default=str)


def backbone_type(cfg: Any) -> str:
    model = cfg.get("model") or {}
    return str((model.get("backbone") or {}).get("type", "Backbone")).rpartition(".")[2]


def groups(engine: str, cfg: Any) -> str:
    """Digest names and settings of the groups, in order."""
    optim_wrapper = json.loads(json.dumps(cfg["optim_wrapper"], default=str))
    given = optim_wrapper["optimizer"]
    optimizer = {k: given[k] for k in ("lr", "weight_decay") if k in given}
    model = make_model(optim_wrapper.get("paramwise_cfg") or {}, backbone_type(cfg))
    constructor = re.sub(r"<class '(?:.*\.)?(\w+)'>", r"\1", str(optim_wrapper.get("constructor")))
    wrapper_cfg = {
        "optimizer": {"type": "SGD", **optimizer},
        "paramwise_cfg": optim_wrapper.get("paramwise_cfg"),
        "constructor": constructor if constructor != "None" else "DefaultOptimWrapperConstructor",
    }
    module = importlib.import_module(f"{engine}.optim")
    wrapper = module.build_optim_wrapper(model, wrapper_cfg)
    names = {id(param): name for name, param in model.named_parameters()}
    found = [
        {**group, "params": [names[id(param)] for param in group["params"]]}
        for group in wrapper.optimizer.param_groups
    ]
    return hashlib.sha256(json.dumps(found, sort_keys=True, default=str).encode()).hexdigest()


class Block(nn.Module):
    """Every kind of parameter that a rule knows."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.depthwise = nn.Conv2d(2, 2, 1, groups=2)
        self.norm = nn.BatchNorm2d(2)
        self.ln = nn.LayerNorm(2)
        self.gamma = nn.Parameter(torch.ones(2))


def make_model(paramwise_cfg: dict[str, Any], backbone: str) -> nn.Module:
    """Return a model in which every custom key occurs, with the layers of a usual backbone."""
    root = nn.Module()
    root.backbone = type(backbone, (nn.Module,), {})()
    root.get_layer_depth = lambda name: (len(name) % 9, 12)  # type: ignore[assignment]
    for name in ("cls_token", "pos_embed", "absolute_pos_embed"):
        setattr(root.backbone, name, nn.Parameter(torch.zeros(1, 1, 2)))
    paths = [f"layers.{index}" for index in range(12)]
    paths += [f"stages.{stage}.{block}" for stage in range(4) for block in range(3)]
    paths += [f"downsample_layers.{stage}" for stage in range(4)]
    for path in paths:
        place(root.backbone, path.split("."), Block())
    for key in sorted(paramwise_cfg.get("custom_keys", {})):
        path = [part for part in key.split(".") if part]
        for prefix in ([], ["backbone"], ["decode_head"]):
            place(root, [*prefix, *path], Block())
    root.head = Block()
    root.frozen = nn.Linear(1, 1).requires_grad_(False)
    return root


def place(root: nn.Module, path: list[str], module: nn.Module) -> None:
    """Put ``module`` at ``path``, with modules in between, unless something else is there."""
    for index, name in enumerate(path, start=1):
        child = getattr(root, name, None)
        if child is None:
            child = module if index == len(path) else nn.Module()
            root.add_module(name, child)
        if not isinstance(child, nn.Module):
            return
        root = child


def start(engine: str, folders: list[Path]) -> subprocess.Popen[str]:
    """Record the first folder in a process of its own."""
    command = [sys.executable, "-m", "tests.parity.optim_corpus", "--record", engine]
    return subprocess.Popen([*command, *map(str, folders)], stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"recording ended with code {process.returncode}")
    return json.loads(output[output.rindex("\n{") :])


class Report:
    """Count what is equal in one package."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.distinct: dict[str, set[str]] = {"scheduler": set(), "groups": set()}

    def add(self, name: str, theirs: dict[str, Any], ours: dict[str, Any]) -> None:
        """Compare one config."""
        self.count["configs"] += 1
        if "unloadable" in theirs:
            self.count["not loaded by MMEngine"] += 1
            return
        for kind, expected in theirs.items():
            if expected is None:
                continue
            self.count[kind] += 1
            self.distinct[kind].add(expected)
            mine = ours.get(kind, str(ours))
            if expected.startswith("error"):
                self.count[f"{kind}: an error in MMEngine"] += 1
                print(f"  {name}: {kind}: MMEngine {expected[:150]}; mm2pl {mine[:150]}")
            elif mine != expected:
                self.count["DIFFERENT"] += 1
                print(f"  {name}: {kind} differs: {mine[:200]}")


def compare(package: Path, others: list[Path]) -> Report:
    """Print figures and differences."""
    processes = [start(engine, [package, *others]) for engine in ("mmengine", "mm2pl")]
    theirs, ours = map(finish, processes)
    report = Report()
    for name, expected in theirs.items():
        report.add(name, expected, ours[name])
    figures = {f"distinct {kind}": len(found) for kind, found in report.distinct.items()}
    shown = ", ".join(f"{value} {key}" for key, value in {**report.count, **figures}.items())
    print(f"{package.name}: {shown}", flush=True)
    return report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--record", choices=["mmengine", "mm2pl"], help="for the processes")
    args = parser.parse_args()
    if args.record:
        # Packages are found from here on: some have a folder `tests`, too.
        sys.path[:] = [*map(str, args.folders), *sys.path]
        print("\n" + json.dumps(record(args.record, args.folders[0])))
        return 0
    cache = Path(os.environ.get("MM2PL_CORPUS") or tempfile.mkdtemp())
    folders = [folder.resolve() for folder in args.folders or download(cache)]
    # An older release of the same toolbox must not answer for `mmdet::...`.
    others = sorted(folders, reverse=True)
    reports = [compare(folder, [o for o in others if o != folder]) for folder in folders]
    compared = sum(report.count[kind] for report in reports for kind in report.distinct)
    return int(not compared or any(report.count["DIFFERENT"] for report in reports))


if __name__ == "__main__":
    sys.exit(main())
