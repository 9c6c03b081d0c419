"""`make compose-test` runs these; `make test` leaves them out, for they build images for minutes."""

import os

collect_ignore = [] if os.environ.get("COMPOSE_TEST") else ["test_compose.py"]
