a = 0
lr = dict(
    a=1,
    b=1 / a)
