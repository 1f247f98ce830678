"""What hooks and logs are given."""
