"""`python -m voicebus_client`."""

import sys

from voicebus_client.cli import main

sys.exit(main())
