"""Seeds, processes, checkpoints to start from: the keys around a run."""

from __future__ import annotations

from typing import Any

from mm2pl.mmcv.migration.state import State

# MMEngine 0.10.7 reads all of these from the config under the same names.
_UNCHANGED = ("log_level", "work_dir", "auto_scale_lr", "custom_imports", "find_unused_parameters")
# 1.x' train scripts set most of these from the command line; they stand in dumped configs.
_DROPPED = {
    "gpu_ids": "devices come from the launcher or --trainer.devices",
    "gpus": "devices come from the launcher or --trainer.devices",
    "device": "Lightning chooses the accelerator; --trainer.accelerator overrides it",
    "exp_name": "experiment_name is made from the config's name",
}

_TOOLBOX_KEYS = {
    "eval_config": ("arguments of a test run's evaluate()", "test_evaluator = dict(...)"),
    "output_config": ("where a test run writes its results", "mm2pl predict CONFIG --out FILE"),
    "precise_bn": ("a hook", "custom_hooks = [dict(type='PreciseBNHook', ...)], of the toolbox"),
    "module_hooks": ("forward hooks of modules", "a hook that registers them in before_run"),
    "visual_config": ("a hook that draws", "default_hooks = dict(visualization=dict(type=...))"),
    "apex": ("NVIDIA's apex", "optim_wrapper = dict(type='AmpOptimWrapper', ...)"),
    "use_ddp_wrapper": ("how several optimizers are distributed", "model_wrapper_cfg = dict(...)"),
    "sync_bn": ("converts BatchNorm", "sync_bn = 'torch', or norm_cfg = dict(type='SyncBN')"),
    "omnisource": ("several training sets at once", "a ConcatDataset in train_dataloader"),
}
"""Keys that the train scripts of single toolboxes read: what each was, and what to write; empty ones are left."""


def migrate_environment(state: State) -> None:
    """Put ``randomness``, ``env_cfg``, ``load_from``, ``resume`` and what stays as it is."""
    for key in _UNCHANGED:
        if key in state:
            state.put(key, state.take(key, key))
    for key, reason in _DROPPED.items():
        state.take(key, note=reason)
    for key, (what, write) in _TOOLBOX_KEYS.items():
        # An empty value turned the feature off in the 1.x script. It needs nobody.
        if state.peek(key):
            state.take(key, note=f"{what}: a train script read it, MMEngine does not", write=write)
        state.take(key, note="off")
    if "launcher" in state:
        state.put("launcher", state.take("launcher", "launcher"))
    if "model_wrapper" in state:
        state.take("model_wrapper", "model", note="MMDetection replaced model by it")
    _randomness(state)
    _env_cfg(state)
    _checkpoint_to_load(state)


def _randomness(state: State) -> None:
    names = {"seed": "seed", "deterministic": "deterministic", "diff_seed": "diff_rank_seed"}
    randomness = {
        new: state.take(old, f"randomness.{new}") for old, new in names.items() if old in state
    }
    if randomness:
        # None is "not set" in configs that 1.x scripts have dumped; MMEngine's defaults stand for it.
        state.put("randomness", {k: v for k, v in randomness.items() if v is not None})


def _env_cfg(state: State) -> None:
    env: dict[str, Any] = {}
    if "cudnn_benchmark" in state:
        env["cudnn_benchmark"] = state.take("cudnn_benchmark", "env_cfg.cudnn_benchmark")
    mp = {
        key: state.take(key, f"env_cfg.mp_cfg.{key}")
        for key in ("mp_start_method", "opencv_num_threads")
        if key in state
    }
    if mp:
        env["mp_cfg"] = mp
    # MMSegmentation 0.x' scripts export them before the workers start. MMEngine 0.10.7 knows only mp_cfg.
    for key in ("omp_num_threads", "mkl_num_threads"):
        write = f"export {key.upper()}={state.peek(key)}"
        state.take(key, note="MMEngine leaves it to the environment", write=write)
    if "dist_params" in state:
        dist = state.take("dist_params", "env_cfg.dist_cfg")
        # 1.x passed these to `init_dist`, as MMEngine does.
        env["dist_cfg"] = dict(dist or {})
    if env:
        state.put("env_cfg", env)


def _checkpoint_to_load(state: State) -> None:
    if not {"load_from", "resume_from", "auto_resume"} & set(state.left):
        return
    load, resume = state.peek("load_from"), state.peek("resume_from")
    auto = state.take("auto_resume", "resume", default=False)
    # 1.x scripts ask `if resume_from … elif load_from`. MMEngine has one path and a switch.
    if resume:
        note = "resume_from wins over it, as in MMCV" if load else ""
        state.take("load_from", "load_from", note=note)
        load = state.take("resume_from", "load_from, resume")
    else:
        state.take("resume_from", "resume")
        # MMEngine 0.10.7 looks for the latest checkpoint only without load_from.
        if auto and load:
            state.take(
                "load_from",
                "load_from",
                "with resume=True this file would be resumed, where MMCV 1.x resumed the latest "
                "checkpoint of work_dir and fell back on it",
                write=f"load_from = {load!r} for the first start, then None",
            )
            load = None
        elif "load_from" in state:
            state.take("load_from", "load_from")
    state.put("load_from", load)
    state.put("resume", bool(resume or auto))
