"""What everything else agrees on: the contracts, the settings with their checks, errors, atomic files.

Nothing here imports from another room of the house.
"""
