_base_ = 'sample/_base_/model.py'
lr = 1
model = dict(
    head=dict(
        topk=dict(a=1)))
