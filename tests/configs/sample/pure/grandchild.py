from mmengine.config import read_base

with read_base():
    from ..pure.child import *

custom_hooks += [dict(type=EMAHook, begin_epoch=3)]
model.merge(dict(init_cfg=dict(_delete_=True, type='Zero')))
