"""A store that speaks S3, for tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pytest

SECRET = "a-secret-of-the-store"


@contextmanager
def bucket(name: str) -> Iterator[Any]:
    """Run a store, name it in the environment, and yield a bucket of it."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # it would log each request
    server: Any = import_module("moto.server").ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patched.setenv("AWS_ALLOW_HTTP", "true")
        patched.setenv("AWS_REGION", "eu-west-1")
        patched.setenv("AWS_ACCESS_KEY_ID", "an-id")
        patched.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        resource: Any = import_module("boto3").resource("s3", region_name="eu-west-1")
        yield resource.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    server.stop()
