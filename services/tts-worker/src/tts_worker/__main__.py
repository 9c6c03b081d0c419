"""Runs the TTS worker: `python -m tts_worker`."""

from voicebus.chassis.starting import run

if __name__ == "__main__":
    run("tts_worker.process")
