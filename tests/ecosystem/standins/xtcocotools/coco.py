"""COCO's annotations."""

from pycocotools.coco import COCO as COCO
