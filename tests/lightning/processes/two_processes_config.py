"""A short run."""

custom_imports = {"imports": ["two_processes_project"]}
default_scope = "mm2pl"
work_dir = "runs/work"
model = {"type": "TwoProcessNet"}
loader = {
    "batch_size": 4,
    "num_workers": 0,
    "dataset": {"type": "TwoProcessPoints"},
    "collate_fn": {"type": "default_collate"},
}
train_dataloader = {**loader, "sampler": {"type": "DefaultSampler", "shuffle": True}}
val_dataloader = {**loader, "sampler": {"type": "DefaultSampler", "shuffle": False}}
train_cfg = {"by_epoch": True, "max_epochs": 2}
val_cfg = {}
val_evaluator = {"type": "TwoProcessAccuracy"}
optim_wrapper = {"optimizer": {"type": "SGD", "lr": 0.1}}
default_hooks = {"logger": {"type": "LoggerHook", "interval": 4}}
custom_hooks = [{"type": "Happening"}]
env_cfg = {"dist_cfg": {"backend": "gloo"}}
randomness = {"seed": 1}
