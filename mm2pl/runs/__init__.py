"""What runs have left in their work folders, read as files: no torch is imported, and nothing is written there."""
