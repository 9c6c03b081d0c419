"""The native dialect: events as they stand in the log, speech as base64 or as binary frames."""

import base64
import struct
from typing import Literal

from gateway.frames import binary_frame, text_frame
from voicebus.bus.items import Item, SpeechItem

AudioForm = Literal["base64", "binary"]
_HEADER_LENGTH = struct.Struct(">I")


def frame(item: Item, audio: AudioForm) -> bytes:
    """The item as a WebSocket frame, ready to be sent.

    Binary speech is 4 bytes of header length (big-endian), the JSON header, the raw audio.
    """
    if not isinstance(item, SpeechItem):
        return text_frame(item.body)
    open_header = item.header[:-2]  # without the braces that close data and event
    if audio == "binary":
        header = open_header + b',"format":"binary"}}'
        return binary_frame(_HEADER_LENGTH.pack(len(header)) + header + item.audio)
    return text_frame(open_header + b',"format":"base64","audio":"' + base64.b64encode(item.audio) + b'"}}')
