# A base that is all literals, calls of dict, and arithmetic.
norm_cfg = dict(type='BN', requires_grad=True, momentum=1e-3)
widths = (64, 128, 256, 512)
model = dict(
    type='Classifier',
    data_preprocessor=dict(type='ImgDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[255 / 2] * 3),
    backbone=dict(
        type='Net',
        depth=50,
        widths=widths,
        norm_cfg=norm_cfg,
        init_cfg=[dict(type='Kaiming', layer='Conv2d'), dict(type='Constant', val=1, layer=['BN'])]),
    neck=None,
    head=dict(
        type='LinearHead',
        in_channels=widths[-1],
        loss=dict(type='CrossEntropyLoss', loss_weight=-1.0),
        topk=(1, 5)))
