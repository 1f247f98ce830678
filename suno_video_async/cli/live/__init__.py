"""The live view of a conversion in a terminal."""
