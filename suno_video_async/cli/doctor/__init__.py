"""`suno-video doctor`: what would keep a conversion from working."""
