"""What is said to the API and what its answers mean: pure functions over values, no I/O."""
