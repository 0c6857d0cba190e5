"""The project's run."""

custom_imports = {"imports": ["project"]}
default_scope = "mm2pl"
work_dir = "runs"
model = {"type": "Mlp"}
train_dataloader = {
    "batch_size": 64,
    "num_workers": 0,
    "dataset": {"type": "Points"},
    "sampler": {"type": "DefaultSampler", "shuffle": True},
    "collate_fn": {"type": "default_collate"},
}
train_cfg = {"by_epoch": True, "max_epochs": 3}
optim_wrapper = {"optimizer": {"type": "Adam", "lr": 1e-3}}
param_scheduler = {"type": "LinearLR", "by_epoch": False, "end": 10}
custom_hooks = [{"type": "Leave"}]
