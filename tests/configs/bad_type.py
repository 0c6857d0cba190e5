_base_ = ['sample/_base_/model.py', 5]
