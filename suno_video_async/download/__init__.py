"""Finished videos, verified on disk."""
