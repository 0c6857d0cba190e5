_base_ = [
    'sample/_base_/model.py',
    'sample/_base_/dat.py',
]
