"""``report``: one page that holds a trained run, to be opened from disk: maps, scores, reasons, trust.

``command`` gathers what the page shows, ``page`` makes the file; the other files each know one part of it.
"""
