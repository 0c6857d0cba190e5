lr = 1
_base_ = ['bad_cycle.py']
