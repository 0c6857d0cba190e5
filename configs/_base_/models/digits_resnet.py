model = dict(type='DigitsResNet', width=16, dropout=0.1)
