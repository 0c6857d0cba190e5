_base_ = [
    './_base_/model.py', './_base_/data.py',
    '_base_/runtime.yaml',
    '_base_/schedule.json',
]
import copy
import os.path as osp

custom_imports = dict(imports=['json'], allow_failed_imports=False)
work_dir = './work_dirs/{{ fileBasenameNoExtension }}'
here = '{{fileDirname}}/{{ fileBasename }}{{ fileExtname }}'
num_classes = {{'$MM2PL_TEST_CLASSES:80'}}
cache = '{{$MM2PL_TEST_CACHE:/tmp/cache}}/x'
data_root = {{_base_.data_root}}

# replaced, merged, deleted, added
model = dict(
    data_preprocessor=dict(_delete_=True, type='Plain'),
    backbone=dict(depth={{_base_.train_cfg.max_epochs}}, norm_cfg=dict(momentum=0.1), widths=[1, 2]),
    neck=[dict(type='GAP')],
    head=dict(num_classes=num_classes, loss=_base_.model.head.loss, new=dict(_delete_=True, a=1)))

train_pipeline = copy.deepcopy(_base_.train_pipeline)
train_pipeline.insert(1, dict(type='Blur', kernel=[2 * i + 1 for i in range(3)]))
train_pipeline[0].update(dict(to_float32=True))
_base_.train_dataloader.dataset.pipeline = train_pipeline
_base_.val_dataloader['dataset'].pop('ann_file')
val_dataloader = dict(dataset=dict(root=osp.join(_base_.data_root, 'val')))
test_dataloader = val_dataloader
optim_wrapper = dict(
    optimizer=dict(lr=0.1 * 8 / 256, betas=(0.9, 0.999), weight_decay=1e-4),
    paramwise_cfg=dict(custom_keys={'.absolute_pos_embed': dict(decay_mult=0.0), 'bias': dict(lr_mult=2)}))
param_scheduler = [dict(type='CosineAnnealingLR', T_max=train, by_epoch=True) for train in (3, 4)]
metainfo = {0: 'zero', 1.5: None, (2, 'x'): {'class': True}, 'is-it': {1, 2}}
big = dict(a=float('inf'), b=-1e-30, c=1 << 40, d=b'\x00\xff', e=1 + 2j, f=..., g=range(3))
note = "quotes ' and \" and \\ and \n and é 😀"


def scale(x):
    return [x * 2, sum([1, 2])]


scaled = scale(x=num_classes)
del scale
