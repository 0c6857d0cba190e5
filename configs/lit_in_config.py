# A LightningModule and a LightningDataModule by their import paths. Optimizer and steps are the module's own.
model = dict(type='examples.lit_in_config.LitDigits', lr=0.05)
datamodule = dict(type='examples.lit_in_config.LitDigitsData', batch_size=64)

train_cfg = dict(by_epoch=True, max_epochs=5)
val_cfg = dict()
val_evaluator = dict(type='examples.digits.DigitsAccuracy')
test_cfg = dict()
test_evaluator = dict(type='examples.digits.DigitsAccuracy')

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=10),
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=2, save_best='accuracy'))
custom_hooks = [dict(type='EMAHook', momentum=0.1)]
randomness = dict(seed=0)
