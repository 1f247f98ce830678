"""Makes lyric videos from folders of songs; knows nothing of the API."""
