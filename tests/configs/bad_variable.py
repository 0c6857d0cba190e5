_base_ = 'sample/_base_/model.py'

model = dict(depth={{_base_.model.bckbone.depth}})
