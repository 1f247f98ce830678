"""The sliding window, in one process and across processes."""
