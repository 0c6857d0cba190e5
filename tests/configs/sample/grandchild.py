_base_ = 'child.py'
train_cfg = dict(max_epochs=3)
model = dict(head=dict(_delete_=True, type='Other', widths={{_base_.model.backbone.widths}}))
custom_hooks = [dict(type='EMAHook', momentum=x, start=_base_.num_classes) for x in (0.1, 0.2)]
_base_.optim_wrapper.optimizer.lr *= 2
