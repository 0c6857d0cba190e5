"""The 1.x project is data: it imports mmcv."""

collect_ignore_glob = ["project/*"]
