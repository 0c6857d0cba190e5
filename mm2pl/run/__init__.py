"""The run: one owner of its state, its loops, its data and its place."""
