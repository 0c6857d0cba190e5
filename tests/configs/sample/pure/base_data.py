from mmengine.dataset import DefaultSampler as Sampler
from mmengine.dataset import default_collate

pipeline = [dict(type='Load'), dict(type='Pack')]
train_dataloader = dict(
    batch_size=2, sampler=dict(type=Sampler), collate_fn=dict(type=default_collate),
    dataset=dict(pipeline=pipeline))
val_dataloader = dict(train_dataloader, batch_size=1)
