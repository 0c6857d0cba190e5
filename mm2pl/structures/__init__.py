"""What annotations and predictions travel in."""

from mm2pl.structures.base_data_element import BaseDataElement as BaseDataElement
from mm2pl.structures.base_data_element import is_data_element as is_data_element
