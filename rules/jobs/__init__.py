"""Jobs and threads: work that runs later or elsewhere."""
