_base_ = 'sample/_base_/model.py'
lr = 0.1
model = dict(depth=_base_.model.backbone.dept)
