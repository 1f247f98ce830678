"""Decides how the rate limit is used: which task to poll next, and when to submit."""
