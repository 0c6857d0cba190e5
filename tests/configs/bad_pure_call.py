from torch.nn import ReLU

model = dict(
    act=ReLU())
