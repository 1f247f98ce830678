"""Turn a catalog of finished Suno tracks into music videos, with asyncio."""
