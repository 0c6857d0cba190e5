_base_ = [
    './_base_/models/digits_resnet.py',
    './_base_/datasets/digits.py',
    './_base_/schedules/digits_15e.py',
    './_base_/default_runtime.py',
]

custom_imports = dict(imports=['examples.digits'])
