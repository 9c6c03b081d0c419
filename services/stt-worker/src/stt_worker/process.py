"""The process of the STT worker. SIGTERM hands its sessions over before it ends."""

import structlog

from stt_worker import metrics
from stt_worker.engines.choice import make_engine
from stt_worker.settings import SttSettings
from stt_worker.transcribe import Transcriber
from stt_worker.vad import VadPool
from voicebus.bus.bus import open_bus
from voicebus.chassis.process import run_process
from voicebus.chassis.service import run_worker

_log = structlog.get_logger(__name__)


async def work(settings: SttSettings) -> None:
    """Transcribes until SIGTERM or SIGINT, then drains and returns."""
    engine = make_engine(settings.stt_engine, decoders=settings.stt_decoders, instant_text=settings.stt_instant_text)
    async with engine, open_bus(settings.bus()) as bus:
        _log.info("engine_ready", engine=engine.name, decoders=settings.stt_decoders)
        metrics.engine_load.set_function(lambda: engine.load)
        transcriber = Transcriber(
            bus.sessions,
            engine,
            VadPool(settings.stt_vad),
            endpointing=settings.endpointing(),
            idle_s=settings.stt_idle_s,
            attempts=settings.attempts_max,
        )
        await run_worker(
            bus,
            "stt",
            transcriber.serve,
            settings=settings,
            capacity=settings.capacity(),
            details=lambda: {
                "engine": engine.name,
                "decoders": str(settings.stt_decoders),
                "load": f"{engine.load:.2f}",
            },
            waited_s=lambda: engine.waited_s,
        )


def main() -> None:
    """The process."""
    settings = SttSettings()
    run_process("stt-worker", work(settings), settings=settings)
