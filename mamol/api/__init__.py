"""What a notebook uses; the commands call the same functions.

Each file is imported by itself, so that nobody waits for the imports of the others.
"""
