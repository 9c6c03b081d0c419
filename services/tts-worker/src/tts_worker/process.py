"""The process of the TTS worker. SIGTERM hands its sessions over before it ends."""

import structlog

from tts_worker.engines.choice import make_engine
from tts_worker.settings import TtsSettings
from tts_worker.speak import Speaker
from voicebus.bus.bus import open_bus
from voicebus.chassis.mailbox import mail_by_mail
from voicebus.chassis.process import run_process
from voicebus.chassis.service import run_worker

_log = structlog.get_logger(__name__)


async def work(settings: TtsSettings) -> None:
    """Speak until SIGTERM or SIGINT, then drain and return."""
    engine = make_engine(
        settings.tts_engine,
        settings.voice(),
        chunk_ms=settings.tts_chunk_ms,
        max_syntheses=settings.tts_syntheses,
    )
    async with engine, open_bus(settings.bus()) as bus:
        _log.info("engine_ready", engine=engine.name, sample_rate=engine.sample_rate)
        serve = mail_by_mail("tts", Speaker(engine).handle)
        details = {"engine": engine.name, "sample_rate": str(engine.sample_rate)}
        await run_worker(
            bus,
            "tts",
            serve,
            settings=settings,
            capacity=settings.tts_sessions,
            details=lambda: details,
            waited_s=lambda: engine.waited_s,
        )


def main() -> None:
    """The process."""
    settings = TtsSettings()
    run_process("tts-worker", work(settings), settings=settings)
