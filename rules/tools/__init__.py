"""Tools: what a model may call, and what stands between it and the customers' data."""
