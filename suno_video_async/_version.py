"""The version, for the package and its `User-Agent`; it imports nothing."""

__version__ = "0.1.0"

#: How the library names itself to servers: some firewalls refuse the default agents of HTTP libraries.
USER_AGENT = f"suno-video-async/{__version__}"
