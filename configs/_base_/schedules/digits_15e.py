max_epochs = 15

train_cfg = dict(by_epoch=True, max_epochs=max_epochs, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=5e-4, nesterov=True),
    paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.))

param_scheduler = [
    # two epochs of warm-up, iteration by iteration
    dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=38),
    # then cosine, epoch by epoch
    dict(type='CosineAnnealingLR', T_max=max_epochs - 2, eta_min=1e-4, by_epoch=True, begin=2, end=max_epochs),
]
