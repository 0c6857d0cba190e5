"""Train with objects."""

from project import Leave, Mlp, Points
from torch.utils.data import DataLoader

from mm2pl.runner import Runner

Runner(
    model=Mlp(),
    work_dir="runs",
    train_dataloader=DataLoader(Points(), batch_size=64, shuffle=True),
    train_cfg={"by_epoch": True, "max_epochs": 3},
    optim_wrapper={"optimizer": {"type": "Adam", "lr": 1e-3}},
    param_scheduler={"type": "LinearLR", "by_epoch": False, "end": 10},
    custom_hooks=[Leave()],
).train()
