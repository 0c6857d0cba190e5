_base_ = 'bad_cycle_half.py'
