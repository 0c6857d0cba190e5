"""The project's run."""

custom_imports = dict(imports=["project"])
default_scope = "mm2pl"
work_dir = "runs"
model = dict(type="Mlp")
train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type="Points"),
    sampler=dict(type="DefaultSampler", shuffle=True),
    collate_fn=dict(type="default_collate"),
)
train_cfg = dict(by_epoch=True, max_epochs=3)
optim_wrapper = dict(optimizer=dict(type="Adam", lr=1e-3))
param_scheduler = dict(type="LinearLR", by_epoch=False, end=10)
custom_hooks = [dict(type="Leave")]
