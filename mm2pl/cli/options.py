"""The options of ``fit``, ``validate``, ``test`` and ``predict``, and what each does to a config."""

from __future__ import annotations

import argparse
import os
import re
from typing import Any

from mm2pl.closest import closest
from mm2pl.config import Config, DictAction
from mm2pl.plan.resume import MUST, with_parts

LIGHTNING_FLAG = re.compile(
    r"--((trainer|model|data|optimizer|lr_scheduler)([.+][\w.+-]+)?"
    r"|seed_everything|return_predictions|weights_only)(=.*)?",
    # A value such as JSON may have several lines.
    re.DOTALL,
)
CONFIG_ENDINGS = (".py", ".yaml", ".yml", ".json")
USAGE = {"fit": "%(prog)s CONFIG [options]"}


class OptionParser(argparse.ArgumentParser):
    """Remember the options, to suggest one for a misspelt one; argparse keeps them to itself."""

    def __init__(self, **kwargs: Any) -> None:
        self.flags: list[str] = []
        super().__init__(**kwargs)

    def add_argument(self, *args: Any, **kwargs: Any) -> argparse.Action:
        """Add an argument as ``ArgumentParser`` does."""
        action = super().add_argument(*args, **kwargs)
        self.flags += action.option_strings
        return action


def add_reading_options(parser: argparse.ArgumentParser) -> None:
    """Add what changes how a config is read, the same for every command."""
    parser.add_argument(
        "--cfg-options",
        nargs="+",
        action=DictAction,
        metavar="KEY=VALUE",
        help="change the config: a.b=1 c.0.d=[1,2]",
    )
    parser.add_argument("--safe", action="store_true", help="read the config without executing it")
    parser.add_argument(
        "--strict", action="store_true", help="make the warnings about ignored keys errors"
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--work-dir", help="where checkpoints and logs go (over the config's; ./work_dirs/NAME)")
    launchers = ["none", "pytorch", "slurm", "mpi"]
    add("--launcher", choices=launchers, help="how the processes were started")
    add("--local_rank", "--local-rank", help=argparse.SUPPRESS)  # from torch.distributed.launch
    # With an underscore, as LightningCLI spells it.
    add("--print_config", action="store_true", help="print the run as LightningCLI YAML, and stop")
    add("--lightning-help", action="store_true", help="list the Trainer's options")


def _add_training_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    resume = "continue the run in the work folder if there is one, or of PATH; --resume=must starts no other"
    add("--resume", nargs="?", const="auto", metavar="PATH", help=resume)
    plan = "the schedules' plan: of the checkpoint, anew from the config, or the config's at the checkpoint's progress"
    add("--resume-param-scheduler", choices=list(_SCHEDULES), help=f"with --resume: {plan}")
    anew = "with --resume: false begins with a new optimizer"
    add("--resume-optimizer", choices=["true", "false"], help=anew)
    add("--ckpt_path", help="LightningCLI's name of --resume PATH; also 'last' and 'best'")
    add("--amp", action="store_true", help="train with automatic mixed precision")
    scale = "scale the learning rate to the real batch size"
    add("--auto-scale-lr", action="store_true", help=scale)
    force = "train in a work folder in which another run seems to train"
    add("--force-lock", action="store_true", help=force)
    add("--no-validate", action="store_true", help="do not validate while training")


def _add_evaluation_options(parser: argparse.ArgumentParser, command: str) -> None:
    add = parser.add_argument
    add("--ckpt_path", help="the same as CHECKPOINT; also 'best' or 'last' of the work folder")
    if command in ("test", "predict"):
        add("--out", metavar="FILE.pkl", help="write the predictions to a pickle file")
    if command == "test":
        tta = "test-time augmentation with tta_model and tta_pipeline"
        add("--tta", action="store_true", help=tta)
        add("--show-dir", help="write pictures of the predictions to this folder of the log folder")


def build_parser(command: str) -> OptionParser:
    """Return the parser of mm2pl's own options; the words and LightningCLI's options are left over."""
    parser = OptionParser(
        prog=f"mm2pl {command}",
        usage=USAGE.get(command, "%(prog)s CONFIG [CHECKPOINT] [options]"),
        description="CONFIG is an MMEngine config (.py, .yaml, .json) or LightningCLI YAML.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Every Trainer argument is an option too: --trainer.max_epochs 3, --trainer.callbacks+=NAME, …\n"
        "--lightning-help lists them all.",
        allow_abbrev=False,
    )
    configs = "a config; may be repeated, later ones win"
    parser.add_argument("--config", "-c", action="append", default=[], help=configs)
    add_reading_options(parser)
    _add_run_options(parser)
    if command == "fit":
        _add_training_options(parser)
    else:
        _add_evaluation_options(parser, command)
    return parser


def parse(command: str, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split a command line into mm2pl's options and LightningCLI's.

    The config and the checkpoint may stand anywhere between the options; argparse's own positional arguments may not.

    Raises:
        SystemExit: With code 2, after one message that says what is wrong.
        ValueError: If a checkpoint is given twice.
    """
    joined: list[str] = []
    for argument in arguments:
        # argparse does not know LightningCLI's options and would take their values for words of its own.
        if joined and _wants_value(joined[-1]) and not argument.startswith("--"):
            joined[-1] = f"{joined[-1]}={argument}"
        else:
            joined.append(argument)
    parser = build_parser(command)
    options, left = parser.parse_known_args(joined)
    if getattr(options, "force_lock", False):
        os.environ["MM2PL_FORCE_LOCK"] = "1"  # of this process and those that a launcher starts
    rest = [argument for argument in left if argument.startswith("-")]
    for argument in rest:
        if not LIGHTNING_FLAG.fullmatch(argument):
            parser.error(_unknown(parser, argument))
    words = [argument for argument in left if not argument.startswith("-")]
    # With --config, a single word is the checkpoint, unless it looks like a config.
    if words and (not options.config or words[0].endswith(CONFIG_ENDINGS)):
        options.config = [words.pop(0), *options.config]
    if words and command != "fit":
        checkpoint = words.pop(0)
        if options.ckpt_path:
            raise ValueError(
                f"two checkpoints: {checkpoint!r} and --ckpt_path {options.ckpt_path!r} → give one"
            )
        options.ckpt_path = checkpoint
    if words:
        parser.error(_too_much(words[0]))
    return options, rest


def _too_much(word: str) -> str:
    if "=" in word:
        return f"{word!r} → to change the config, write --cfg-options {word}"
    return f"{word!r} is one word too many → more configs are given with --config"


def _wants_value(argument: str) -> bool:
    return "=" not in argument and LIGHTNING_FLAG.fullmatch(argument) is not None


def _unknown(parser: OptionParser, argument: str) -> str:
    name = argument.split("=")[0]
    known = {flag.strip("-"): flag for flag in parser.flags}
    close = closest(name.strip("-"), known, 1)
    if close:
        return f"unknown option {name!r} → did you mean {known[close[0]]!r}?"
    return f"unknown option {name!r} → see {parser.prog} --help and {parser.prog} --lightning-help"


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
    if options.local_rank is not None:
        # torchrun sets the variable; the older torch.distributed.launch passes the option.
        os.environ.setdefault("LOCAL_RANK", options.local_rank)
    given = vars(options)
    for name, change in CHANGES.items():
        if given.get(name):
            change(cfg, given[name])
    if parts := parts_to_resume(options):
        if not cfg.get("resume"):
            raise ValueError(f"{', '.join(parts)} without a run to continue → add --resume")
        cfg.resume = with_parts(cfg.resume, parts)
    return cfg


def resume_keys(path: str) -> dict[str, Any]:
    """Return the keys of a config that ``--resume``, ``--resume=must`` or ``--resume=PATH`` stand for."""
    # With `resume`, MMEngine takes the newest file of work_dir unless load_from names one.
    if path in ("auto", MUST):
        return {"resume": True if path == "auto" else MUST, "load_from": None}
    return {"resume": True, "load_from": path}


def _resume(cfg: Config, path: str) -> None:
    cfg.update(resume_keys(path))


_SCHEDULES = {"file": True, "config": False, "replan": "replan"}


def parts_to_resume(options: argparse.Namespace) -> dict[str, Any]:
    """Return what ``--resume-param-scheduler`` and ``--resume-optimizer`` say, as keys of ``resume``."""
    schedules = getattr(options, "resume_param_scheduler", None)
    optimizer = getattr(options, "resume_optimizer", None)
    parts: dict[str, Any] = {}
    if schedules:
        parts["resume_param_scheduler"] = _SCHEDULES[schedules]
    if optimizer:
        parts["resume_optimizer"] = optimizer == "true"
    return parts


def _amp(cfg: Config, _: object) -> None:
    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise ValueError(
            f"--amp with optim_wrapper type {kind!r} → only OptimWrapper and AmpOptimWrapper can be switched"
        )
    wrapper["type"] = "AmpOptimWrapper"
    wrapper.setdefault("loss_scale", "dynamic")


def _auto_scale_lr(cfg: Config, _: object) -> None:
    if not cfg.get("auto_scale_lr") or "base_batch_size" not in cfg.auto_scale_lr:
        raise ValueError(
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
        raise ValueError(f"--out {path!r} → a file name ending in .pkl or .pickle is needed")


def write_results(cfg: Config, path: str) -> None:
    """Add the metric that writes a test's predictions to a pickle file: ``--out``."""
    evaluators = cfg.get("test_evaluator") or []
    evaluators = list(evaluators) if isinstance(evaluators, (list, tuple)) else [evaluators]
    # As OpenMMLab's test scripts do: this metric of MMEngine's only writes the file.
    cfg.test_evaluator = [*evaluators, {"type": "DumpResults", "out_file_path": path}]


def _tta(cfg: Config, _: object) -> None:
    if "tta_model" not in cfg or "tta_pipeline" not in cfg:
        raise ValueError("--tta needs tta_model and tta_pipeline in the config")
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
        raise ValueError(
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
