"""``optimizer``, ``optimizer_config`` and ``fp16`` → ``optim_wrapper``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mm2pl.mmcv.migration.state import Part, State

_TARGET = "optim_wrapper"
_FP16_HOOKS = frozenset({"Fp16OptimizerHook", "GradientCumulativeFp16OptimizerHook"})
_HOOKS = _FP16_HOOKS | {"OptimizerHook", "DistOptimizerHook", "GradientCumulativeOptimizerHook"}
_FP16_NOTE = (
    "AmpOptimWrapper autocasts the whole forward of the training, MMCV 1.x only what @auto_fp16 marks; "
    "validation stays in float32 unless val_cfg has fp16=True"
)


def migrate_optimizer(state: State) -> None:
    """Put ``optim_wrapper``."""
    if "optimizers" in state and "optimizer" not in state:  # MMEditing's name
        state.left["optimizer"] = state.take("optimizers", _TARGET, note="see optimizer")
    fp16 = state.peek("fp16")
    config = state.peek("optimizer_config", {})
    if not {"optimizer", "optimizer_config", "fp16"} & set(state.left):
        return
    wrapper: dict[str, Any] = {"type": "OptimWrapper"}
    several = _optimizers(state, wrapper)
    hook = config.get("type", "OptimizerHook") if isinstance(config, Mapping) else None
    if "optimizer_config" in state:
        _optimizer_config(state, wrapper, hook)
    if "fp16" in state:
        _fp16(state, wrapper, fp16)
    # 1.x has one hook for all optimizers: each wrapper gets its clipping and precision.
    if several:
        kind = {key: wrapper.pop(key) for key in list(wrapper) if key not in several}
        for name in several:
            wrapper[name] = {**kind, **wrapper[name]}
        wrapper = {"constructor": "MMCVOptimWrapperConstructor", **wrapper}
    state.put(_TARGET, wrapper)


def _optimizers(state: State, wrapper: dict[str, Any]) -> list[str]:
    """Add ``optimizer``; return the names if there are several."""
    optimizer = state.peek("optimizer")
    if optimizer is None:
        state.take("optimizer", note="no optimizer, no optim_wrapper.optimizer")
        return []
    # GANs of MMEditing and MMGeneration give one optimizer per sub-module, and no type.
    if "type" in optimizer or not all(isinstance(o, Mapping) for o in optimizer.values()):
        state.take("optimizer", f"{_TARGET}.optimizer")
        wrapper.update(_one_optimizer(optimizer, state))
        return []
    state.take(
        "optimizer",
        _TARGET,
        note="one wrapper per optimizer: the model's train_step(data, optim_wrapper) steps each by its name, "
        "optim_wrapper['name'].update_params(loss), where it called optimizer['name'].step()",
    )
    for name, one in optimizer.items():
        wrapper[name] = _one_optimizer(one, state)
    return list(optimizer)


def _one_optimizer(optimizer: Mapping[str, Any], state: State) -> dict[str, Any]:
    inner = dict(optimizer)
    outer: dict[str, Any] = {
        key: inner.pop(key) for key in ("paramwise_cfg", "constructor") if key in inner
    }
    # 1.x' default by name. MMEngine's default does the same under another name.
    if outer.get("constructor") == "DefaultOptimizerConstructor":
        del outer["constructor"]
    # A toolbox of today has its constructors in today's registry; those of a project are still of 1.x.
    elif "constructor" in outer and state.toolbox is None:
        inner["constructor"] = outer["constructor"]
        outer["constructor"] = "MMCVOptimizerConstructor"
    if outer.get("paramwise_cfg", {}) is None:
        del outer["paramwise_cfg"]
    return {"optimizer": inner, **outer}


def _optimizer_config(state: State, wrapper: dict[str, Any], hook: str | None) -> None:
    config = state.peek("optimizer_config")
    # Unlike {}, with which MMCV 1.7.2 registers its default OptimizerHook.
    if config is None:
        state.take(
            "optimizer_config",
            _TARGET,
            note="MMCV 1.x registers no OptimizerHook then: the model steps by itself. Its train_step(data, "
            "optim_wrapper) must keep doing so, with optim_wrapper.update_params(loss)",
        )
        return
    if not isinstance(config, Mapping):
        state.take("optimizer_config", _TARGET, "not a dict", write="optim_wrapper = dict(...)")
        return
    if not config:
        state.take("optimizer_config", _TARGET)
        return
    part = state.part("optimizer_config")
    if hook not in _HOOKS:
        note = f"{hook!r} is a hook of your own: a wrapper of that behaviour must replace it"
        write = f"optim_wrapper = dict(type='{str(hook).removesuffix('Hook')}Wrapper', ...)"
        part.take("type", f"{_TARGET}.type", note, write)
    else:
        part.take("type", f"{_TARGET}.type", note=_FP16_NOTE if hook in _FP16_HOOKS else "")
    clip = part.take("grad_clip", f"{_TARGET}.clip_grad")
    # grad_clip=None is in most configs, to be overridden by those that inherit.
    if clip is not None:
        wrapper["clip_grad"] = clip
    _accumulation(part, wrapper)
    if hook in _FP16_HOOKS:
        wrapper["type"] = "AmpOptimWrapper"
        wrapper["loss_scale"] = _loss_scale(part, f"{_TARGET}.loss_scale")
        for key in ("coalesce", "bucket_size_mb", "distributed"):
            part.take(key, note="gradients are reduced by DDP itself")
    if part.take("detect_anomalous_params", "model_wrapper_cfg", note=_ANOMALOUS):
        state.put(
            "model_wrapper_cfg",
            {"type": "MMDistributedDataParallel", "detect_anomalous_params": True},
        )
    for key in ("coalesce", "bucket_size_mb"):
        part.take(key, note="gradients are reduced by DDP itself")
    if part.peek("use_fp16"):
        # Of the hook that Swin Transformer's repositories and many after them have.
        part.take("use_fp16", f"{_TARGET}.type", _APEX, f"{_TARGET} = dict(type='AmpOptimWrapper')")
    part.take("use_fp16", note="off")
    part.finish(f"no argument of {hook} that OptimWrapper has", _TARGET)


_APEX = "mixed precision by apex, which mm2pl does not use; that of torch differs in the last bits"
_ANOMALOUS = "reported by the DDP wrapper, so only in distributed training"


def _accumulation(part: Part, wrapper: dict[str, Any]) -> None:
    # `update_interval` is the name in OpenSelfSup's DistOptimizerHook, like `use_fp16` below.
    for key in ("cumulative_iters", "update_interval"):
        if key in part:
            count = part.take(key, f"{_TARGET}.accumulative_counts")
            # 1 is the default of both.
            if count > 1:
                wrapper["accumulative_counts"] = count


def _fp16(state: State, wrapper: dict[str, Any], fp16: object) -> None:
    if fp16 is None:
        state.take("fp16", note="off")
        return
    wrapper["type"] = "AmpOptimWrapper"
    # MMSegmentation 0.x names the scale in optimizer_config, and leaves fp16=dict() for its test script.
    if not fp16:
        state.take("fp16", _TARGET, note=_FP16_NOTE)
        wrapper.setdefault("loss_scale", 512.0)
        return
    part = state.part("fp16")
    wrapper["loss_scale"] = _loss_scale(part, f"{_TARGET}.loss_scale")
    for key in ("coalesce", "bucket_size_mb", "distributed"):
        part.take(key, note="gradients are reduced by DDP itself")
    part.finish("no argument of Fp16OptimizerHook", _TARGET)


def _loss_scale(part: Part, target: str) -> Any:
    # MMCV 1.7.2's default is static; AmpOptimWrapper's is 'dynamic'.
    scale = part.peek("loss_scale", 512.0)
    if isinstance(scale, Mapping):
        return _scaler_args(part, scale, target)
    if isinstance(scale, int) and not isinstance(scale, bool):
        part.take("loss_scale", target, note="MMCV 1.7.2 rejects an int; read as a float")
        return float(scale)
    return part.take("loss_scale", target, note=_FP16_NOTE, default=scale)


def _scaler_args(part: Part, scale: Mapping[str, Any], target: str) -> Any:
    """Return the arguments for GradScaler; those of MMCV's own LossScaler are translated."""
    args = dict(scale)
    # MMCV's own LossScaler was for torch before 1.6. torch's GradScaler has no mode and other names.
    if args.pop("mode", "dynamic") == "static":
        part.take("loss_scale", target, note=_FP16_NOTE)
        return float(args.get("init_scale", 512.0))
    window, factor = args.pop("scale_window", None), args.pop("scale_factor", None)
    if window is not None:
        args["growth_interval"] = window
    if factor is not None:
        # LossScaler multiplies and divides by one factor.
        args.update(growth_factor=factor, backoff_factor=1 / factor)
    part.take("loss_scale", target, note=_FP16_NOTE)
    return args
