import torch.nn as nn
from mmengine.model import BaseModel, PretrainedInit
from torch.optim import SGD

norm = dict(type=nn.BatchNorm2d, eps=1e-5)
model = dict(
    type=BaseModel,
    backbone=dict(layers=[dict(type=nn.Conv2d, out=8), dict(type=nn.ReLU)], norm=norm),
    init_cfg=dict(type=PretrainedInit, checkpoint='x'))
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1))
