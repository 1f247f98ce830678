"""The extra `temporal` alone: the workflows are defined, and nothing of the command line is needed for them."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from suno_video_async.engines.temporal import CatalogWorkflow, ConvertWorkflow, workflow_id

assert find_spec("click") is None, "another extra is installed: this checks nothing"
assert {CatalogWorkflow.__name__, ConvertWorkflow.__name__} == {"CatalogWorkflow", "ConvertWorkflow"}
assert workflow_id("acme") == "suno-video/acme"
print("the extra temporal alone: fine")
sys.stdout.flush()
os._exit(0)  # the core of temporalio may abort at the interpreter's exit
