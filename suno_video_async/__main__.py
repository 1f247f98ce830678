"""`python -m suno_video_async` is `suno-video`."""

from suno_video_async.cli import main

if __name__ == "__main__":
    main()
