dataset_type = 'DigitsDataset'

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type=dataset_type, split='train'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'))
val_dataloader = dict(
    batch_size=300,
    num_workers=0,
    dataset=dict(type=dataset_type, split='val'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))
test_dataloader = dict(
    batch_size=300,
    num_workers=0,
    dataset=dict(type=dataset_type, split='test'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'))

val_evaluator = dict(type='DigitsAccuracy')
test_evaluator = val_evaluator
