"""SQL text as the linter and the pytest plugin read it: tables, conditions, links, and nothing of any boundary."""
