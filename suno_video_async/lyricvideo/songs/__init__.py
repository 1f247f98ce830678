"""The built-in songs: words and scores, their synthesis, and their covers."""
