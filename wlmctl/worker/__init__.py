"""A worker executes tasks. It keeps nothing: kill it at any time."""
