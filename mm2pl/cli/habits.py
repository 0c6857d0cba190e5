"""What people type from habit, and what it is here. Data: words of other programs → ours."""

from __future__ import annotations

from collections.abc import Sequence

FIT, EVAL = ("fit",), ("validate", "test", "predict")
ALL = (*FIT, *EVAL)


def _changes(key: str) -> str:
    return f"--cfg-options {key}={{}}"


_DEVICES = "--trainer.devices {}"
_ONE_GPU = "--trainer.accelerator gpu --trainer.devices [{}]"
_WORK_DIR = "--work-dir {}"
_EPOCHS = _changes("train_cfg.max_epochs")
_ITERS = _changes("train_cfg.max_iters")
_RATE = _changes("optim_wrapper.optimizer.lr")
_BATCH = {
    "fit": _changes("train_dataloader.batch_size"),
    "validate": _changes("val_dataloader.batch_size"),
}
_BATCH["test"] = _BATCH["predict"] = _changes("test_dataloader.batch_size")
_WORKERS = {command: text.replace("batch_size", "num_workers") for command, text in _BATCH.items()}
_WEIGHTS = {"fit": _changes("load_from"), **dict.fromkeys(EVAL, "--ckpt_path {}")}
_AMP = {
    "fit": "--amp",
    "validate": "--cfg-options val_cfg.fp16=True",
    **dict.fromkeys(("test", "predict"), "--cfg-options test_cfg.fp16=True"),
}
_SEED = _changes("randomness.seed")
_METRICS = "the metrics are those of the config: --cfg-options test_evaluator.type=…"

OPTIONS: dict[str, str | dict[str, str]] = {
    # tools/train.py, tools/test.py and tools/dist_train.sh of OpenMMLab's toolboxes, 1.x and 2.x
    "gpus": _DEVICES,
    "gpu-id": _ONE_GPU,
    "gpu-ids": _ONE_GPU,
    "seed": _SEED,
    "diff-seed": "--cfg-options randomness.diff_rank_seed=True",
    "deterministic": "--cfg-options randomness.deterministic=True",
    "auto-resume": {"fit": "--resume"},
    "resume-from": {"fit": "--resume={}"},
    "load-from": _changes("load_from"),
    "options": "--cfg-options {}",
    "amp": _AMP,
    "fp16": _AMP,
    "no-validate": {"fit": "--no-validate"},
    "work-dir": _WORK_DIR,
    "eval": _METRICS,
    "metrics": _METRICS,
    "show": {"test": "--show-dir FOLDER"},
    "checkpoint": _WEIGHTS,
    "nproc-per-node": _DEVICES,
    "nnodes": "--trainer.num_nodes {}",
    # ultralytics
    "device": "--trainer.accelerator {device}",
    "epochs": _EPOCHS,
    "lr": _RATE,
    "lr0": _RATE,
    "batch": _BATCH,
    "batch-size": _BATCH,
    "workers": _WORKERS,
    "weights": _WEIGHTS,
    "half": _AMP,
    "project": _WORK_DIR,
    "name": _changes("experiment_name"),
    # Lightning's Trainer, and its CLI before 2.0
    "max-epochs": _EPOCHS,
    "max-iters": _ITERS,
    "max-steps": "--trainer.max_steps {}",
    "max-time": "--trainer.max_time {}",
    "devices": _DEVICES,
    "num-nodes": "--trainer.num_nodes {}",
    "accelerator": "--trainer.accelerator {}",
    "strategy": "--trainer.strategy {}",
    "precision": "--trainer.precision {}",
    "fast-dev-run": "--trainer.fast_dev_run true",
    "limit-train-batches": "--trainer.limit_train_batches {}",
    "limit-val-batches": "--trainer.limit_val_batches {}",
    "accumulate-grad-batches": _changes("optim_wrapper.accumulative_counts"),
    "gradient-clip-val": _changes("optim_wrapper.clip_grad.max_norm"),
    "default-root-dir": _WORK_DIR,
    "resume-from-checkpoint": {"fit": "--resume={}"},
    # accelerate, and the Trainer of transformers
    "num-processes": _DEVICES,
    "num-machines": "--trainer.num_nodes {}",
    "mixed-precision": "--trainer.precision {}-mixed",
    "gradient-accumulation-steps": _changes("optim_wrapper.accumulative_counts"),
    "output-dir": _WORK_DIR,
    "learning-rate": _RATE,
    "weight-decay": _changes("optim_wrapper.optimizer.weight_decay"),
    "num-workers": _WORKERS,
    "num-epochs": _EPOCHS,
    "num-train-epochs": _EPOCHS,
    "per-device-train-batch-size": _changes("train_dataloader.batch_size"),
}
"""Option, without its dashes and with ``-`` for ``_`` → what it is here, or what it is for each command."""

COMMANDS = {
    "train": "fit",
    "finetune": "fit",
    "resume": "fit",
    "val": "validate",
    "eval": "validate",
    "evaluate": "validate",
    "inference": "predict",
    "infer": "predict",
    "detect": "predict",
    "migrate-ckpt": "convert-ckpt",
    "print-config": "explain",
    "analyze-logs": "plot log",
    "plot-curve": "plot log",
    "dist-train": "fit",
    "dist-test": "test",
    "browse-dataset": "browse",
    "get-flops": "profile",
    "benchmark": "profile",
    "publish-model": "publish",
}
"""Command, or a script of OpenMMLab's tools, with ``-`` for ``_`` → what it is here."""


def instead_of(command: str, option: str, value: str) -> str:
    """Return what to type instead of an option, or ``""`` for one that nobody is known to type from habit.

    >>> instead_of("fit", "--epochs", "3"), instead_of("test", "--batch_size", "8")
    ('--cfg-options train_cfg.max_epochs=3', '--cfg-options test_dataloader.batch_size=8')
    >>> instead_of("fit", "--device", "cuda:1"), instead_of("fit", "--zzz", "3")
    ('--trainer.accelerator gpu --trainer.devices [1]', '')
    """
    known = OPTIONS.get(option.strip("-").replace("_", "-"), "")
    text = known.get(command, "") if isinstance(known, dict) else known
    return text.format(value or "…", device=_device(value)) if text else ""


def _device(value: str) -> str:
    """Return ``--device`` of other programs as the Trainer's arguments: cuda, cuda:1, 0, 0,1 or cpu."""
    kind, _, index = value.rpartition(":") if ":" in value else (value, "", "")
    if not value or value[0].isdigit():
        return f"gpu --trainer.devices [{value or '0'}]"
    name = "gpu" if kind == "cuda" else kind
    return f"{name} --trainer.devices [{index}]" if index else name


def command_instead_of(command: str, rest: Sequence[str]) -> str:
    """Return the whole line to type instead of one whose command is another program's, or a config; ``""``: neither.

    >>> command_instead_of("train", ["c.py", "--amp"]), command_instead_of("c.py", ["--amp"])
    ('mm2pl fit c.py --amp', 'mm2pl fit c.py --amp')
    >>> command_instead_of("browse_dataset", ["c.py"])
    'mm2pl browse c.py'
    """
    name = command.replace("_", "-")
    words = list(rest)
    if name in COMMANDS:
        if name == "analyze-logs" and words[:1] == ["plot_curve"]:
            del words[0]
        if name.startswith("dist-"):
            # How many GPUs: the last word that OpenMMLab's dist_train.sh and dist_test.sh read by its position.
            words = [_DEVICES.format(word) if word.isdecimal() else word for word in words]
        return " ".join(["mm2pl", COMMANDS[name], *words])
    if command.endswith((".py", ".yaml", ".yml", ".json")) or "::" in command:
        # A script is followed by its config; a config never is.
        is_script = command.endswith(".py") and any(word.endswith(".py") for word in words[:1])
        return " ".join(["mm2pl", "run" if is_script else "fit", command, *words])
    return ""
