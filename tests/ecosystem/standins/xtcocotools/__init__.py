"""pycocotools under the name that MMPose imports: xtcocotools itself must be compiled for this NumPy."""
