lr = 1
_base_ = './bad_division.py'
