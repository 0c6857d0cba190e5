from mmengine.config import read_base

with read_base():
    from .base_data import *
    from .base_model import model, optim_wrapper as wrapper

import torch.optim
import torch.utils.data
from mmengine.hooks import (EMAHook,
                            LoggerHook)

model.update(dict(backbone=dict(layers=[dict(type='Identity')]), extra=dict(deep=[1, (2, 3)])))
model.backbone.norm.eps = 1e-3
pipeline.insert(1, dict(type='Flip', prob=0.5))
train_dataloader['dataset']['pipeline'] = pipeline
train_dataloader.pop('collate_fn')
optim_wrapper = dict(wrapper, optimizer=dict(type=torch.optim.AdamW, lr=1e-3))
default_hooks = dict(logger=dict(type=LoggerHook, interval=10))
custom_hooks = [dict(type=EMAHook), dict(type=torch.utils.data.DataLoader)]
