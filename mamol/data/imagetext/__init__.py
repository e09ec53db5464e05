"""Images with texts: readers of the published datasets, their tables, and batches for CLIP's two towers."""
