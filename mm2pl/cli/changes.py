"""What the options of ``fit``, ``validate``, ``test`` and ``predict`` do to a config, as OpenMMLab's scripts do it."""

from __future__ import annotations

import argparse
import copy
import os
from collections.abc import Mapping
from typing import Any

from mm2pl.config import Config
from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log
from mm2pl.plan.processes import RANK_VARIABLES, launched_by
from mm2pl.plan.resume import MUST, with_parts
from mm2pl.plan.tabled import name_of


def apply(options: argparse.Namespace, cfg: Config) -> Config:
    """Change a config as OpenMMLab's ``tools/train.py`` and ``tools/test.py`` do.

    Raises:
        ValueError: If an option asks for something that the config lacks.
    """
    if options.work_dir:
        cfg.work_dir = options.work_dir
    if options.launcher:
        cfg.launcher = options.launcher
    # Every base config says "none", also where several processes run: it decides nothing.
    elif cfg.get("launcher", "none") in (None, "none"):
        cfg.launcher = _launched()
    if options.local_rank is not None:
        # torchrun sets the variable; the older torch.distributed.launch passes the option.
        os.environ.setdefault("LOCAL_RANK", options.local_rank)
    given = vars(options)
    for name, change in CHANGES.items():
        if given.get(name):
            change(cfg, given[name])
    if parts := parts_to_resume(options):
        if not cfg.get("resume"):
            asked = (
                "--resume=PATH in place of --ckpt_path"
                if given.get("ckpt_path")
                else "add --resume"
            )
            raise ArgumentError(f"{', '.join(parts)} without a run to continue → {asked}")
        cfg.resume = with_parts(cfg.resume, parts)
    return cfg


def _launched() -> str:
    launcher = launched_by(os.environ)
    if launcher != "none" and os.environ.get(RANK_VARIABLES[launcher], "0") == "0":
        print_log(
            f"--launcher is not given → {launcher}, which has started these processes; --launcher none trains in each "
            "for itself",
            logger="current",
        )
    return launcher


def resume_keys(path: str) -> dict[str, Any]:
    """Return the keys of a config that ``--resume``, ``--resume=must`` or ``--resume=PATH`` stand for."""
    # With `resume`, MMEngine takes the newest file of work_dir unless load_from names one.
    if path in ("auto", MUST):
        return {"resume": True if path == "auto" else MUST, "load_from": None}
    return {"resume": True, "load_from": path}


def _resume(cfg: Config, path: str) -> None:
    cfg.update(resume_keys(path))


SCHEDULES = {"file": True, "config": False, "replan": "replan"}
"""What ``--resume-param-scheduler`` says → its value in ``resume``."""


def parts_to_resume(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``--resume-param-scheduler`` and ``--resume-optimizer`` say, as keys of ``resume``."""
    schedules = getattr(options, "resume_param_scheduler", None)
    optimizer = getattr(options, "resume_optimizer", None)
    parts: dict[str, Any] = {}
    if schedules:
        parts["resume_param_scheduler"] = SCHEDULES[schedules]
    if optimizer:
        parts["resume_optimizer"] = optimizer == "true"
    return parts


def _amp(cfg: Config, _: object) -> None:
    wrapper = cfg.optim_wrapper
    kind = name_of(wrapper.get("type", "OptimWrapper"))
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ArgumentError(
            f"--amp with optim_wrapper type {kind!r} → only OptimWrapper and AmpOptimWrapper can be switched"
        )
    wrapper["type"] = "AmpOptimWrapper"
    wrapper.setdefault("loss_scale", "dynamic")


def _auto_scale_lr(cfg: Config, _: object) -> None:
    if not cfg.get("auto_scale_lr") or "base_batch_size" not in cfg.auto_scale_lr:
        raise ArgumentError(
            "--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=…) in the config"
        )
    cfg.auto_scale_lr["enable"] = True


def _no_validate(cfg: Config, _: object) -> None:
    # All three, because a stage that is given in part is refused.
    for key in ("val_cfg", "val_dataloader", "val_evaluator"):
        cfg[key] = None


def require_pickle(path: str) -> None:
    """Refuse another ending than a pickle file's.

    Raises:
        ValueError: Naming those that can be written.
    """
    if not path.endswith((".pkl", ".pickle")):
        raise ArgumentError(f"--out {path!r} → a file name ending in .pkl or .pickle is needed")


def write_results(cfg: Config, path: str) -> None:
    """Add the metric that writes a test's predictions to a pickle file: ``--out``; of several sets, one file each."""
    own, loaders = cfg.get("test_evaluator"), cfg.get("test_dataloader")
    if not isinstance(loaders, (list, tuple)):
        cfg.test_evaluator = _dumping(own, path)
        return
    stem, ending = os.path.splitext(path)
    each = own if isinstance(own, (list, tuple)) else [copy.deepcopy(own) for _ in loaders]
    cfg.test_evaluator = [_dumping(one, f"{stem}_{i}{ending}") for i, one in enumerate(each)]


def _dumping(evaluator: Any, path: str) -> Any:
    # As OpenMMLab's test scripts do: this metric of MMEngine's only writes the file.
    dump = {"type": "DumpResults", "out_file_path": path}
    if isinstance(evaluator, Mapping) and "metrics" in evaluator:  # the evaluator itself
        return {**evaluator, "metrics": _dumping(evaluator["metrics"], path)}
    own = evaluator if isinstance(evaluator, (list, tuple)) else [evaluator] if evaluator else []
    return [*own, dump]


def _tta(cfg: Config, _: object) -> None:
    if "tta_model" not in cfg or "tta_pipeline" not in cfg:
        raise ArgumentError("--tta needs tta_model and tta_pipeline in the config")
    if isinstance(cfg.test_dataloader, (list, tuple)):
        raise ArgumentError("--tta with several data sets in test_dataloader → test one at a time")
    dataset = cfg.test_dataloader.dataset
    # Through wrappers such as RepeatDataset, to the one that has a pipeline.
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    # MMEngine's BaseTTAModel calls the model that it asks `module`.
    cfg.model = {**cfg.tta_model, "module": cfg.model}


def _show_dir(cfg: Config, folder: str) -> None:
    hook = cfg.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise ArgumentError(
            "--show-dir needs a hook default_hooks.visualization in the config, such as VisualizationHook"
        )
    # The visualization hooks of OpenMMLab's toolboxes draw nothing by default.
    hook["draw"] = True
    hook["test_out_dir"] = folder


CHANGES = {
    "resume": _resume,
    "amp": _amp,
    "auto_scale_lr": _auto_scale_lr,
    "no_validate": _no_validate,
    "tta": _tta,
    "show_dir": _show_dir,
}
"""Option → what it does to the config."""
