"""The options of ``fit``, ``validate``, ``test`` and ``predict``, and what each does to a config."""

from __future__ import annotations

import argparse
import re
from typing import Any

from mm2pl.config import Config, DictAction

LIGHTNING_FLAG = re.compile(r"--(trainer|model|data)\.[\w.+-]+$")


def build_parser(command: str) -> argparse.ArgumentParser:
    """Return the parser of mm2pl's own options; what it does not know goes to LightningCLI."""
    parser = argparse.ArgumentParser(
        prog=f"mm2pl {command}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every Trainer argument is an option too: --trainer.max_epochs 3, --trainer.callbacks+=NAME, …\n"
        "--lightning-help lists them all.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "config_file",
        nargs="?",
        metavar="CONFIG",
        help="an MMEngine config (.py, .yaml, .json) or LightningCLI YAML",
    )
    if command != "fit":
        add("checkpoint", nargs="?", help="the same as --ckpt_path")
    add(
        "--config",
        "-c",
        action="append",
        default=[],
        help="a config; may be repeated, later ones win",
    )
    add(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="change the config: a.b=1 c.0.d=[1,2]",
    )
    add(
        "--work-dir",
        help="where checkpoints and logs go (command line > config > ./work_dirs/<config name>)",
    )
    add(
        "--launcher",
        choices=["none", "pytorch", "slurm", "mpi"],
        help="how the processes were started",
    )
    add(
        "--print_config",
        action="store_true",
        help="print the run as LightningCLI YAML, and do nothing else",
    )
    add("--safe", action="store_true", help="read the config without executing it")
    add("--strict", action="store_true", help="make the warnings about ignored keys errors")
    add("--lightning-help", action="store_true", help="list the Trainer's options")
    if command == "fit":
        add(
            "--resume",
            nargs="?",
            const="auto",
            metavar="PATH",
            help="continue the run in the work folder, or of PATH",
        )
        add("--ckpt_path", help="LightningCLI's name of --resume PATH; also 'last' and 'best'")
        add("--amp", action="store_true", help="train with automatic mixed precision")
        add(
            "--auto-scale-lr",
            action="store_true",
            help="scale the learning rate to the real batch size",
        )
        add("--no-validate", action="store_true", help="do not validate while training")
    else:
        add("--ckpt_path", help="a checkpoint, or 'best' or 'last' of the work folder")
    if command in ("test", "predict"):
        add("--out", metavar="FILE.pkl", help="write the predictions to a pickle file")
    if command == "test":
        add(
            "--tta",
            action="store_true",
            help="test-time augmentation with tta_model and tta_pipeline",
        )
        add("--show-dir", help="write pictures of the predictions to this folder of the log folder")
    return parser


def parse(command: str, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split a command line into mm2pl's options and LightningCLI's.

    Raises:
        SystemExit: With code 2, after argparse's message.
        ValueError: If a checkpoint is given twice.
    """
    joined: list[str] = []
    for argument in arguments:
        if joined and LIGHTNING_FLAG.fullmatch(joined[-1]) and not argument.startswith("--"):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    options, rest = build_parser(command).parse_known_args(joined)
    if getattr(options, "checkpoint", None):
        if options.ckpt_path:
            raise ValueError(
                f"two checkpoints: {options.checkpoint!r} and --ckpt_path {options.ckpt_path!r} → give one"
            )
        options.ckpt_path = options.checkpoint
    options.config = [*([options.config_file] if options.config_file else []), *options.config]
    return options, rest


def apply(options: argparse.Namespace, cfg: Config) -> Config:
    """Change a config as OpenMMLab's ``tools/train.py`` and ``tools/test.py`` do.

    Raises:
        ValueError: If an option asks for something that the config lacks.
    """
    if options.cfg_options:
        cfg.merge_from_dict(options.cfg_options)
    if options.work_dir:
        cfg.work_dir = options.work_dir
    if options.launcher:
        cfg.launcher = options.launcher
    given = vars(options)
    for name, change in CHANGES.items():
        if given.get(name):
            change(cfg, given[name])
    return cfg


def _resume(cfg: Config, path: str) -> None:
    cfg.resume = True
    cfg.load_from = None if path == "auto" else path


def _amp(cfg: Config, _: Any) -> None:
    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ValueError(
            f"--amp with optim_wrapper type {kind!r} → only OptimWrapper and AmpOptimWrapper can be switched"
        )
    wrapper["type"] = "AmpOptimWrapper"
    wrapper.setdefault("loss_scale", "dynamic")


def _auto_scale_lr(cfg: Config, _: Any) -> None:
    if not cfg.get("auto_scale_lr") or "base_batch_size" not in cfg.auto_scale_lr:
        raise ValueError(
            "--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=…) in the config"
        )
    cfg.auto_scale_lr["enable"] = True


def _no_validate(cfg: Config, _: Any) -> None:
    for key in ("val_cfg", "val_dataloader", "val_evaluator"):
        cfg[key] = None


def _out(cfg: Config, path: str) -> None:
    if not path.endswith((".pkl", ".pickle")):
        raise ValueError(f"--out {path!r} → a file name ending in .pkl or .pickle is needed")
    evaluators = cfg.get("test_evaluator") or []
    evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
    cfg.test_evaluator = [*evaluators, {"type": "DumpResults", "out_file_path": path}]


def _tta(cfg: Config, _: Any) -> None:
    if "tta_model" not in cfg or "tta_pipeline" not in cfg:
        raise ValueError("--tta needs tta_model and tta_pipeline in the config")
    dataset = cfg.test_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    dataset.pipeline = cfg.tta_pipeline
    cfg.model = {**cfg.tta_model, "module": cfg.model}


def _show_dir(cfg: Config, folder: str) -> None:
    hook = cfg.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise ValueError(
            "--show-dir needs a hook default_hooks.visualization in the config, such as VisualizationHook"
        )
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
