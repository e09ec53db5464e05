"""Speed and memory, each as a ratio against a plain implementation measured in the same run (``make bench``)."""
