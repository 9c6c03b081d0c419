"""`python -m voicebus_client`."""

from voicebus_client.cli import run

run()
