"""Runs the agent worker: `python -m agent_worker`."""

from voicebus.chassis.starting import run

if __name__ == "__main__":
    run("agent_worker.process")
