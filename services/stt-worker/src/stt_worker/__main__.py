"""Runs the STT worker: `python -m stt_worker`."""

from voicebus.chassis.starting import run

if __name__ == "__main__":
    run("stt_worker.process")
