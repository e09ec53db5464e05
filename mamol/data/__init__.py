"""From raw scenes to batches: scenes, splits, windows, Arrow tables, missing patterns."""
