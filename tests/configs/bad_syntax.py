lr = 0.1
model = dict(type='Net'
