"""Runs the toolbox: `python -m agent_worker.toolbox`, for standard input and output, or `--http PORT`."""

from voicebus.chassis.starting import run

if __name__ == "__main__":
    run("agent_worker.toolbox.process")
