"""Configs are data for the tests: nothing here is a test or may be imported."""

collect_ignore_glob = ["*.py", "*/*.py", "*/*/*.py"]
