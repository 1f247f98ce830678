"""The API keys of all tests and benchmarks: of the usual shape, and no account's."""

KEY = "ak_0123456789abcdefghijklmnopqrstuv"
OTHER_KEY = "ak_zyxwvutsrqponmlkjihgfedcba987654"
