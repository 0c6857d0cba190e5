_base_ = 'sample/pure/child.py'
