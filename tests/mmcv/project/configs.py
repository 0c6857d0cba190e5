BASE = dict(
    seed=7,
    model=dict(type="Classifier"),
    data=dict(
        samples_per_gpu=4,
        workers_per_gpu=0,
        train=dict(type="Stripes", size=22, seed=0),
        val=dict(type="Stripes", size=10, seed=1),
    ),
    optimizer=dict(type="SGD", lr=0.2, momentum=0.9, weight_decay=1e-4),
    optimizer_config=dict(grad_clip=None),
    lr_config=dict(policy="step", step=[2], warmup="linear", warmup_iters=5, warmup_ratio=0.1),
    runner=dict(type="EpochBasedRunner", max_epochs=3),
    checkpoint_config=dict(interval=1),
    log_config=dict(interval=2, hooks=[dict(type="TextLoggerHook")]),
    workflow=[("train", 1)],
    custom_hooks=[dict(type="RecordHook")],
)

RUNS = dict(
    epochs=dict(),
    val_flow=dict(
        workflow=[("train", 2), ("val", 1)], runner=dict(type="EpochBasedRunner", max_epochs=5)
    ),
    val_first=dict(workflow=[("val", 1), ("train", 1)]),
    evaluation=dict(
        evaluation=dict(interval=1, save_best="accuracy", metric="accuracy"),
        optimizer_config=dict(grad_clip=dict(max_norm=0.5)),
        lr_config=dict(policy="CosineAnnealing", min_lr=0.01, by_epoch=False),
    ),
    workers=dict(
        data=dict(BASE["data"], workers_per_gpu=2),
        optimizer=dict(
            type="AdamW",
            lr=0.01,
            weight_decay=0.1,
            paramwise_cfg=dict(norm_decay_mult=0.0, bias_lr_mult=2.0),
        ),
    ),
    own_optimizer_hook=dict(
        optimizer_config=dict(type="CentralizeHook", grad_clip=dict(max_norm=1.0)),
        momentum_config=dict(policy="cyclic"),
        lr_config=dict(policy="cyclic"),
    ),
    accumulation=dict(
        optimizer_config=dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4)
    ),
    iterations=dict(
        runner=dict(type="IterBasedRunner", max_iters=14),
        lr_config=dict(policy="poly", power=0.9, min_lr=1e-3),
        checkpoint_config=dict(interval=5),
        evaluation=dict(interval=4),
    ),
    iterations_with_val=dict(
        runner=dict(type="IterBasedRunner", max_iters=9),
        workflow=[("train", 2), ("val", 1)],
        lr_config=dict(policy="fixed"),
    ),
)
