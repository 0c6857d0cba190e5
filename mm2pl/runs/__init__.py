"""What runs have left in their work folders, read as files.

Only `weights` and `publish` import torch, and only `publish` and `clean` change a work folder.
"""
