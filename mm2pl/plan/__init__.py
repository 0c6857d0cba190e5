"""What a config asks for, as data. Nothing here knows Lightning; only `plot` builds something, the param groups."""
