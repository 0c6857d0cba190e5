"""The project is run by processes of their own, not collected."""

collect_ignore_glob = ["two_processes_*.py"]
