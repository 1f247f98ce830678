"""The studio: the local server's page for a browser on the same machine, and the calls that this page makes."""
