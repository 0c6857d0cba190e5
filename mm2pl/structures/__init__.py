"""What annotations and predictions travel in."""

from mm2pl.structures.base_data_element import BaseDataElement as BaseDataElement
from mm2pl.structures.base_data_element import is_data_element as is_data_element
from mm2pl.structures.instance_data import InstanceData as InstanceData
from mm2pl.structures.label_data import LabelData as LabelData
from mm2pl.structures.pixel_data import PixelData as PixelData
