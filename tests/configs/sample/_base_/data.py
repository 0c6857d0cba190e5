# Containers that occur in several places, loops that leave variables behind.
dataset_type = 'ToyData'
data_root = 'data/toy/'
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(256, 256), keep_ratio=True),
    dict(type='Flip', prob=0.5, direction=['horizontal', 'vertical']),
]
test_pipeline = train_pipeline[:2]
test_pipeline.append(dict(type='Pack', meta_keys=('path', 'label')))
train_dataloader = dict(
    batch_size=8,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type=dataset_type, ann_file=f'{data_root}train.txt', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=1,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type=dataset_type, ann_file=data_root + 'val.txt', pipeline=test_pipeline))
splits = []
for name in ['a', 'b']:
    if name != 'c':
        splits.append(dict(name=name, file='{}.json'.format(name)))
