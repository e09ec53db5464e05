"""The suite. Each worker computes on one thread: forks of a process with several would wait for those that it lacks."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported
