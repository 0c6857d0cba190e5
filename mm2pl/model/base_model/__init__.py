"""The model protocol: three modes of ``forward``, three steps, and a data preprocessor before them."""

from mm2pl.model.base_model.base_model import BaseModel as BaseModel
from mm2pl.model.base_model.data_preprocessor import BaseDataPreprocessor as BaseDataPreprocessor
from mm2pl.model.base_model.data_preprocessor import ImgDataPreprocessor as ImgDataPreprocessor
