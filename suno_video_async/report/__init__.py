"""A ledger as one page to look at: totals, cost, pace, what needs a decision, and the videos themselves."""
