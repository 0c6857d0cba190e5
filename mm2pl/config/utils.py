"""Names that MMEngine keeps in ``mmengine.config.utils``."""

from __future__ import annotations

from .errors import ConfigParsingError as ConfigParsingError

# Module name -> name on the package index, where toolboxes chose two.
_SAME_NAME = (
    *("mmcls", "mmdet", "mmdet3d", "mmtrack", "mmpose", "mmedit", "mmocr", "mmgen", "mmfewshot"),
    *("mmrazor", "mmflow", "mmhuman3d", "mmrotate", "mmselfsup", "mmyolo", "mmpretrain", "mmagic"),
)
MODULE2PACKAGE = {name: name for name in _SAME_NAME} | {
    "mmseg": "mmsegmentation",
    "mmaction": "mmaction2",
}
# Its older name, which MMEngine 0.10.7 still has.
PKG2PROJECT = MODULE2PACKAGE
