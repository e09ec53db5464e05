"""The paper's tables and figures by one command: expand into runs, do what is not done yet, collect, write."""
