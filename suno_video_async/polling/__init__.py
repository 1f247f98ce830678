"""Spends the request budget: whom to poll next, and when to submit."""
