_base_ = './_base_/model.py'
_deprecation_ = dict(expected='child.py', reference='the changelog')
