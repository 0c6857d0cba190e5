"""Compare the schedules and param groups of released configs with MMEngine's.

``python -m tests.parity.optim_corpus FOLDER`` looks for packages unpacked from wheels
(``FOLDER/<package>/.../.mim/configs``). Each config is loaded and built twice, once by MMEngine and
once by mm2pl in a process where MMEngine is not imported, and what the two record is compared:

- every ``param_scheduler``: lr, momentum and weight decay of two param groups during each
  iteration of the whole run, with epochs of 137 iterations;
- every ``paramwise_cfg`` and ``constructor``: the groups over a model with such parameter names.

The toolboxes' own schedulers and constructors take part, run from their sources with only the names
of the packages changed.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import re
import struct
import subprocess
import sys
import types
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn

EPOCH_LENGTH = 137
ENTRIES = ("lr", "momentum", "weight_decay", "betas")
SOURCES = ("engine/schedulers", "engine/optimizers", "engine/optim_wrappers")
REGISTRIES = ("PARAM_SCHEDULERS", "OPTIM_WRAPPER_CONSTRUCTORS", "OPTIMIZERS")


def configs(package: Path) -> list[Path]:
    """Return the config files of an unpacked package, bases left out."""
    found = sorted(package.glob("**/.mim/configs/**/*.py"))
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
            cfg = load(str(path))
        except Exception as error:
            results[name] = {"unloadable": type(error).__name__}
            continue
        results[name] = {
            "scheduler": once(seen, scheduler_key(cfg), curve, engine, cfg),
            "groups": once(seen, groups_key(cfg), groups, engine, cfg),
        }
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
    return "s" + json.dumps(
        [cfg["param_scheduler"], cfg["train_cfg"], optimizer_kind(cfg)], default=str
    )


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
    # The toolbox is registered without its scope.
    given = cfg["param_scheduler"]
    scheduler = [
        {**each, "type": each["type"].rpartition(".")[2]} if isinstance(each["type"], str) else each
        for each in (given if isinstance(given, list) else [given])
    ]
    schedulers = build(engine, scheduler, wrapper, max_epochs, max_iters, by_epoch)
    digest = hashlib.sha256()
    per_iter = [scheduler for scheduler in schedulers if not scheduler.by_epoch]
    per_epoch = [scheduler for scheduler in schedulers if scheduler.by_epoch and by_epoch]
    for iteration in range(1, max_iters + 1):
        for group in wrapper.param_groups:
            for entry in ENTRIES:
                value = group.get(entry, ())
                values = value if isinstance(value, tuple) else (value,)
                digest.update(struct.pack(f"{len(values)}d", *values))
        for scheduler in per_iter:
            scheduler.step()
        if iteration % EPOCH_LENGTH == 0:
            for scheduler in per_epoch:
                scheduler.step()
    return digest.hexdigest()


def make_wrapper(engine: str, optimizer: str) -> Any:
    params = [{"params": nn.Parameter(torch.zeros(1)), "lr": 1e-3 * k} for k in (1, 7)]
    kwargs = {"momentum": 0.9} if optimizer == "SGD" else {"betas": (0.9, 0.98)}
    made = getattr(torch.optim, optimizer)(params, lr=1e-2, weight_decay=0.05, **kwargs)
    return importlib.import_module(f"{engine}.optim").OptimWrapper(made)


def build(
    engine: str, cfg: Any, wrapper: Any, max_epochs: int, max_iters: int, by_epoch: bool
) -> list[Any]:
    """Build the schedulers as a Runner does; MMEngine's by its Runner's own methods."""
    if engine == "mm2pl":
        from mm2pl.optim import build_param_schedulers

        return build_param_schedulers(  # type: ignore[return-value]
            *(cfg, wrapper),
            max_epochs=max_epochs,
            max_iters=max_iters,
            epoch_length=EPOCH_LENGTH,
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
        train_dataloader=range(EPOCH_LENGTH),
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


def in_own_process(engine: str, package: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.parity.optim_corpus", str(package), "--record", engine]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return json.loads(output[output.rindex("\n{") :])


def compare(package: Path) -> int:
    """Print figures and differences; return the number of differences."""
    theirs, ours = (in_own_process(engine, package) for engine in ("mmengine", "mm2pl"))
    count: Counter[str] = Counter()
    distinct: dict[str, set[str]] = {"scheduler": set(), "groups": set()}
    for name, expected in theirs.items():
        count["configs"] += 1
        if "unloadable" in expected or "unloadable" in ours[name]:
            both = "unloadable" in expected and "unloadable" in ours[name]
            count["not loadable by " + ("both" if both else "one")] += 1
            continue
        for kind, value in expected.items():
            if value is None:
                continue
            count[kind] += 1
            distinct[kind].add(value)
            if str(value).startswith("error"):
                count[f"{kind}: an error in MMEngine"] += 1
                print(f"  {name}: {kind}: MMEngine {value[:150]}; mm2pl {ours[name][kind][:150]}")
            elif ours[name][kind] != value:
                count["DIFFERENT"] += 1
                print(f"  {name}: {kind} differs: {ours[name][kind][:200]}")
    figures = {**count, **{f"distinct {kind}": len(found) for kind, found in distinct.items()}}
    print(f"{package.name}: " + ", ".join(f"{value} {key}" for key, value in figures.items()))
    return count["DIFFERENT"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--record", choices=["mmengine", "mm2pl"], help="for the processes")
    args = parser.parse_args()
    if args.record:
        print("\n" + json.dumps(record(args.record, args.folder)))
        return 0
    packages = [folder for folder in sorted(args.folder.iterdir()) if configs(folder)]
    return int(sum(map(compare, packages)) > 0)


if __name__ == "__main__":
    sys.exit(main())
