from mm2pl.config import read_base

with read_base():
    from .sample.pure.base_model import modle
