lr = 1
with open('x'):
    pass
