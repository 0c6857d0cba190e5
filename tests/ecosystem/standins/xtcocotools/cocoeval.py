"""COCO's evaluation, with the two arguments that MMPose adds."""

import numpy as np
from pycocotools import cocoeval


class COCOeval(cocoeval.COCOeval):
    """Takes the sigmas of the keypoints; areas are always used."""

    def __init__(self, truth, found, kind, sigmas=None, use_area=True):
        assert use_area
        super().__init__(truth, found, kind)
        if sigmas is not None:
            self.params.kpt_oks_sigmas = np.asarray(sigmas)
