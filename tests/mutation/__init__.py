"""The check that tests notice what a slip in the code would cost."""
