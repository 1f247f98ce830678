"""Reports to hooks and logs."""
