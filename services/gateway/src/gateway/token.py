"""Makes a token: `python -m gateway.token alice --hours 12 --scope sessions:read`."""

import argparse
import sys
from datetime import timedelta

from gateway.auth import SCOPES, issue_token
from gateway.settings import GatewaySettings


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m gateway.token", description=__doc__)
    parser.add_argument("user", help="the token's subject")
    parser.add_argument("--hours", type=float, default=12.0, help="how long it is valid")
    parser.add_argument(
        "--scope", action="append", default=[], choices=sorted(SCOPES), help="what it allows (can be repeated)"
    )
    arguments = parser.parse_args()
    settings = GatewaySettings()
    if not settings.jwt_secret.get_secret_value():
        sys.exit("JWT_SECRET is not set")
    most_hours = settings.revocations_kept_s / 3_600
    if not 0 < arguments.hours <= most_hours:
        sys.exit(f"--hours must be above 0, and at most {int(most_hours)} (REVOCATIONS_KEPT_S)")
    lasts = timedelta(hours=arguments.hours)
    sys.stdout.write(issue_token(settings, arguments.user, lasts, arguments.scope) + "\n")


if __name__ == "__main__":
    main()
