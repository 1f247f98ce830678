"""What must not be forgotten: which track was bought, by which attempt, and how it ended."""
