"""CMU Flite: English, and clearer than espeak-ng. Used where the system has its libraries (Debian: `libflite1`)."""

import ctypes
from collections.abc import Callable

from tts_worker.engines.engine import SAMPLE_BYTES, EngineError, Voice

DEFAULT_VOICE = "slt"
SAMPLE_RATES = {"slt": 16_000, "rms": 16_000, "awb": 16_000, "kal16": 16_000, "kal": 8_000}
BUFFER_SAMPLES = 480  # at least so many before the callback is called

_STREAM_GO_ON, _STREAM_STOP = 0, -1


# The leading fields of cst_wave, cst_voice and cst_audio_streaming_info; the library allocates them.
class _Wave(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_char_p),
        ("sample_rate", ctypes.c_int),
        ("num_samples", ctypes.c_int),
        ("num_channels", ctypes.c_int),
        ("samples", ctypes.c_void_p),
    )


class _Voice(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("features", ctypes.c_void_p))


_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(_Wave), ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_void_p
)


class _Streaming(ctypes.Structure):
    _fields_ = (("min_buffsize", ctypes.c_int), ("callback", _Callback))


def is_installed() -> bool:
    """Whether the system has Flite's library."""
    try:
        ctypes.CDLL("libflite.so.1")
    except OSError:
        return False
    return True


class Flite:
    """The library, loaded and set to a voice.

    A second text in the same process differs from what it would be as the first one. Hence
    `tts_worker.engines.forkserver`: one text per fork.
    """

    def __init__(self, voice: Voice) -> None:
        name = voice.name or DEFAULT_VOICE
        if name not in SAMPLE_RATES:
            raise EngineError(f"flite has no voice {name!r}, but {', '.join(SAMPLE_RATES)}")
        self.sample_rate = SAMPLE_RATES[name]
        self._write: Callable[[bytes], None] | None = None
        self._callback = _Callback(self._take)  # flite keeps the pointer only: the object must stay alive
        self._library, self._voice = _load(name)
        features = self._voice.contents.features
        streaming = self._library.new_audio_streaming_info()
        streaming.contents.min_buffsize = BUFFER_SAMPLES
        streaming.contents.callback = self._callback
        self._library.feat_set(features, b"streaming_info", self._library.audio_streaming_info_val(streaming))
        for feature, factor in ((b"duration_stretch", 1 / voice.speed), (b"f0_shift", voice.pitch)):
            normal = self._library.get_param_float(features, feature, 1.0)
            self._library.feat_set_float(features, feature, normal * factor)

    def synthesise(self, text: str, write: Callable[[bytes], None]) -> None:
        """Call `write` with the audio of `text`, piece by piece; an `OSError` of it ends the synthesis."""
        self._write = write
        self._library.flite_text_to_speech(text.encode(), self._voice, b"none")

    def _take(self, wave: "ctypes._Pointer[_Wave]", start: int, count: int, _last: int, _streaming: int | None) -> int:
        if self._write is None or count <= 0:
            return _STREAM_GO_ON
        try:
            self._write(ctypes.string_at(wave.contents.samples + start * SAMPLE_BYTES, count * SAMPLE_BYTES))
        except OSError:
            return _STREAM_STOP
        return _STREAM_GO_ON


def _load(voice: str) -> tuple[ctypes.CDLL, "ctypes._Pointer[_Voice]"]:
    try:
        library = ctypes.CDLL("libflite.so.1")
        voices = ctypes.CDLL(f"libflite_cmu_us_{voice}.so.1")
    except OSError as error:
        raise EngineError(f"flite can't be loaded: {error}") from error
    features, value, name = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_char_p
    library.new_audio_streaming_info.restype = ctypes.POINTER(_Streaming)
    library.audio_streaming_info_val.argtypes = [ctypes.POINTER(_Streaming)]
    library.audio_streaming_info_val.restype = value
    library.feat_set.argtypes = [features, name, value]
    library.feat_set_float.argtypes = [features, name, ctypes.c_float]
    library.get_param_float.argtypes = [features, name, ctypes.c_float]
    library.get_param_float.restype = ctypes.c_float
    library.flite_text_to_speech.argtypes = [ctypes.c_char_p, ctypes.POINTER(_Voice), ctypes.c_char_p]
    library.flite_text_to_speech.restype = ctypes.c_float
    register = getattr(voices, f"register_cmu_us_{voice}")
    register.argtypes = [ctypes.c_char_p]
    register.restype = ctypes.POINTER(_Voice)
    library.flite_init()
    return library, register(None)
