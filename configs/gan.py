custom_imports = dict(imports=['examples.gan'])

model = dict(type='PointGAN', noise=4)

train_dataloader = dict(
    dataset=dict(type='Circle', size=512),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
    batch_size=64,
    num_workers=0)
train_cfg = dict(by_epoch=True, max_epochs=5)

optim_wrapper = dict(
    constructor='PerPartConstructor',
    generator=dict(optimizer=dict(type='Adam', lr=1e-3, betas=(0.5, 0.999))),
    discriminator=dict(optimizer=dict(type='Adam', lr=2e-3, betas=(0.5, 0.999))))
param_scheduler = dict(
    generator=dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=8),
    discriminator=dict(type='MultiStepLR', milestones=[3], by_epoch=True))

randomness = dict(seed=0)
