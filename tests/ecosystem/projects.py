"""All released configs that are run."""

from __future__ import annotations

from tests.ecosystem import detection, loops, pose, pretrain, rotation, segmentation
from tests.ecosystem.project import Project

PROJECTS: dict[str, Project] = {
    **pretrain.PROJECTS,
    **segmentation.PROJECTS,
    **detection.PROJECTS,
    **pose.PROJECTS,
    **loops.PROJECTS,
    **rotation.PROJECTS,
}
