"""Runs the gateway: `python -m gateway`."""

from voicebus.chassis.starting import run

if __name__ == "__main__":
    run("gateway.process")
