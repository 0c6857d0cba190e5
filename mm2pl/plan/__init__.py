"""What a config asks for, as data: nothing is built or imported here, and Lightning is not known."""
