"""COCO's masks."""

from pycocotools.mask import *  # noqa: F403
