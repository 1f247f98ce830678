"""Parsers of text from outside, tried with whatever comes: `nox -s fuzz`, and in short in the usual tests."""
