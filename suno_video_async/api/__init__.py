"""One call of the API, whole: its place in the window, the send, the verdict and the backoff."""
