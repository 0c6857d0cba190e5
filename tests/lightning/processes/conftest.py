"""What is here is run by processes of its own, and registers what only they need."""

collect_ignore_glob = ["*.py"]
