"""The project here is read by mypy; nobody imports it, and it imports a name that does not exist."""

collect_ignore = ["project.py"]
