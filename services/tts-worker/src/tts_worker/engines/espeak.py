"""espeak-ng: small, quick, many languages. Its library and voices come with `espeakng-loader`."""

import ctypes
from collections.abc import Callable

import espeakng_loader

from tts_worker.engines.engine import SAMPLE_BYTES, EngineError, SynthesisError, Voice

DEFAULT_VOICE = "en-us"
NORMAL_WORDS_PER_MINUTE = 175
NORMAL_PITCH = 50  # of 0 to 100
BUFFER_MS = 60  # how much is synthesised before the callback is called

# Names of espeak-ng's speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_POS_CHARACTER = 1
_CHARS_UTF8 = 1  # and neither SSML (0x10) nor phonemes in brackets (0x100): a text is only a text
_END_PAUSE = 0x1000
_RATE = 1
_PITCH = 3
_EE_OK = 0
_GO_ON, _STOP = 0, 1

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library, loaded and set to a voice.

    It isn't thread-safe, and a second text in the same process sounds different from what it would be as the first one.
    Hence `tts_worker.engines.forkserver`: one text per fork.
    """

    def __init__(self, voice: Voice) -> None:
        self._write: Callable[[bytes], None] | None = None
        self._library = _load()
        self._callback = _Callback(self._take)  # espeak keeps the pointer only: the object must stay alive
        rate = self._library.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, BUFFER_MS, espeakng_loader.get_data_path().encode(), _INITIALIZE_DONT_EXIT
        )
        if rate <= 0:
            raise EngineError("espeak-ng finds no voices")
        self.sample_rate = int(rate)
        self._library.espeak_SetSynthCallback(self._callback)
        name = voice.name or DEFAULT_VOICE
        if self._library.espeak_SetVoiceByName(name.encode()) != _EE_OK:
            raise EngineError(f"espeak-ng has no voice {name!r}")
        self._library.espeak_SetParameter(_RATE, round(NORMAL_WORDS_PER_MINUTE * voice.speed), 0)
        self._library.espeak_SetParameter(_PITCH, min(round(NORMAL_PITCH * voice.pitch), 100), 0)

    def synthesise(self, text: str, write: Callable[[bytes], None]) -> None:
        """Call `write` with the audio of `text`, piece by piece; an `OSError` of it ends the synthesis."""
        self._write = write
        encoded = text.encode()
        status = self._library.espeak_Synth(
            encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, _CHARS_UTF8 | _END_PAUSE, None, None
        )
        if status != _EE_OK:
            raise SynthesisError(f"espeak-ng failed with status {status}")

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: int | None) -> int:
        if self._write is None or not samples or count <= 0:
            return _GO_ON
        try:
            self._write(ctypes.string_at(samples, count * SAMPLE_BYTES))
        except OSError:
            return _STOP
        return _GO_ON


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except OSError as error:
        raise EngineError(f"espeak-ng can't be loaded: {error}") from error
    library.espeak_Initialize.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int]
    library.espeak_SetSynthCallback.argtypes = [_Callback]
    library.espeak_SetSynthCallback.restype = None
    library.espeak_SetVoiceByName.argtypes = [ctypes.c_char_p]
    library.espeak_SetParameter.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int]
    position_and_flags = [ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, *position_and_flags, ctypes.POINTER(ctypes.c_uint), ctypes.c_void_p
    ]  # fmt: skip
    return library
