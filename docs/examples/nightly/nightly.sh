#!/bin/sh
# Makes the videos of what is new in the catalog, and a page of all of them.
# Run it as often as you like: nothing is bought twice.
set -eu
cd "${SUNO_VIDEO_HOME:-/srv/suno-video}"

code=0
suno-video convert catalog.csv --output-dir videos --quiet \
    --max-credits "${MAX_CREDITS:-200}" \
    --outcomes outcomes.csv --failed failed.csv >/dev/null || code=$?
suno-video report catalog.ledger.db --posters 0 >/dev/null
exit "$code"
