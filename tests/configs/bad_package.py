_base_ = 'mm2pl_is_no_such_package::a/b.py'
