import logging
from functools import partial

import mmcv
from dataset import DATASETS
from mmcv.parallel import MMDataParallel, collate
from mmcv.runner import (
    EvalHook,
    Fp16OptimizerHook,
    HOOKS,
    OptimizerHook,
    build_optimizer,
    build_runner,
    set_random_seed,
)
from mmcv.utils import Config, build_from_cfg, get_logger
from model import CLASSIFIERS
from torch.utils.data import DataLoader


def build_dataloader(dataset, samples_per_gpu, workers_per_gpu, shuffle=True):
    return DataLoader(
        dataset,
        batch_size=samples_per_gpu,
        shuffle=shuffle,
        num_workers=workers_per_gpu,
        collate_fn=partial(collate, samples_per_gpu=samples_per_gpu),
    )


def train(cfg, work_dir, resume_from=None):
    """A 1.x train script, as the toolboxes had it."""
    cfg = Config(cfg)
    mmcv.mkdir_or_exist(work_dir)
    logger = get_logger("project", log_level="ERROR")
    assert isinstance(logger, logging.Logger)
    set_random_seed(cfg.seed)
    model = build_from_cfg(cfg.model, CLASSIFIERS)
    model.init_weights()
    model = MMDataParallel(model)
    datasets = [build_from_cfg(cfg.data.train, DATASETS)]
    if len(cfg.workflow) == 2:
        datasets.append(build_from_cfg(dict(cfg.data.val, test_mode=True), DATASETS))
        if cfg.workflow[0][0] == "val":
            datasets.reverse()
    loaders = [
        build_dataloader(dataset, cfg.data.samples_per_gpu, cfg.data.workers_per_gpu)
        for dataset in datasets
    ]
    optimizer = build_optimizer(model, cfg.optimizer)
    runner = build_runner(
        cfg.runner,
        default_args=dict(
            model=model,
            batch_processor=None,
            optimizer=optimizer,
            work_dir=work_dir,
            logger=logger,
            meta=dict(exp_name="stripes"),
        ),
    )
    if cfg.get("fp16") is not None:
        optimizer_config = Fp16OptimizerHook(**cfg.optimizer_config, **cfg.fp16, distributed=False)
    elif "type" not in cfg.optimizer_config:
        optimizer_config = OptimizerHook(**cfg.optimizer_config)
    else:
        optimizer_config = cfg.optimizer_config
    runner.register_training_hooks(
        cfg.lr_config,
        optimizer_config,
        cfg.checkpoint_config,
        cfg.log_config,
        cfg.get("momentum_config", None),
    )
    if cfg.get("evaluation"):
        val = build_from_cfg(dict(cfg.data.val, test_mode=True), DATASETS)
        loader = build_dataloader(val, 4, 0, shuffle=False)
        by_epoch = cfg.runner["type"] != "IterBasedRunner"
        runner.register_hook(EvalHook(loader, by_epoch=by_epoch, **cfg.evaluation), priority="LOW")
    for hook_cfg in cfg.get("custom_hooks", []):
        hook_cfg = hook_cfg.copy()
        priority = hook_cfg.pop("priority", "NORMAL")
        runner.register_hook(build_from_cfg(hook_cfg, HOOKS), priority=priority)
    if resume_from:
        runner.resume(resume_from, map_location="cpu")
    runner.run(loaders, cfg.workflow)
    record = next(hook for hook in runner.hooks if type(hook).__name__ == "RecordHook")
    return dict(
        losses=record.losses,
        lrs=record.lrs,
        points=record.points,
        best=(runner.meta or {}).get("hook_msgs", {}).get("best_score"),
        weight=float(sum(p.data.double().sum() for p in runner.model.parameters())),
    )
