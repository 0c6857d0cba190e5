_base_ = 'sample/_base_/data.py'
file = '{{_base_.data_root}}/x'
