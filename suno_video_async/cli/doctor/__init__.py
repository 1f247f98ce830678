"""`suno-video doctor`: checks what could keep a conversion from working."""
