"""When things may happen: the clock, the rate limit, the backoff and the order of polls."""
