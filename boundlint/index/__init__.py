"""The index: facts of every file, and the project they make together."""
