"""What became of a tool call, in the form that the model, the journal and the clients get."""

import json
from typing import Final, Literal

from mcp.types import (
    AudioContent,
    BlobResourceContents,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, ConfigDict, JsonValue

CONTENT_MAX: Final = 64 * 1024  # of the content, as UTF-8 or JSON

OutcomeKind = Literal["ok", "error", "unknown", "cancelled"]


class ToolOutcome(BaseModel):
    """The end of one tool call.

    `unknown`: it may or may not have had its effect, and must not simply be called again. `cancelled`: it was never
    made, or called off while it ran, and may have had part of its effect.
    """

    model_config = ConfigDict(frozen=True)

    content: JsonValue = None  # a text, or the tool's structured result
    is_error: bool
    outcome: OutcomeKind
    duration_ms: float
    denied: bool = False  # it was never made, because nobody approved it


def from_result(result: CallToolResult, duration_ms: float) -> ToolOutcome:
    """The outcome that a server's answer stands for, cut to `CONTENT_MAX`."""
    return ToolOutcome(
        content=bounded(_content(result)),
        is_error=result.is_error,
        outcome="error" if result.is_error else "ok",
        duration_ms=duration_ms,
    )


def bounded(content: JsonValue, most: int = CONTENT_MAX) -> JsonValue:
    """The content itself if it has at most so many bytes, else its beginning as a text that says that it is one."""
    data = content.encode() if isinstance(content, str) else _dump(content).encode()
    if len(data) <= most:
        return content
    note = f"\n[cut off: {len(data)} bytes, the first {most} at most are shown]"
    return data[: most - len(note)].decode(errors="ignore") + note


def _content(result: CallToolResult) -> JsonValue:
    """The structured result if there is one, with the text before it where that says something else."""
    texts = [_text(block) for block in result.content]
    text = "\n".join(texts)
    structured: JsonValue = result.structured_content
    if structured is None or result.is_error:
        return text
    # servers wrap what is not an object, as in {"result": 42}
    wrapped = isinstance(structured, dict) and structured.keys() == {"result"}
    value = structured["result"] if wrapped and isinstance(structured, dict) else structured
    if not texts or _renders(texts, value) or _renders(texts, structured):
        return value
    return f"{text}\n{_dump(value)}"


def _renders(texts: list[str], value: JsonValue) -> bool:
    """Whether the texts are only another form of the value: as it is, as JSON, or one by one."""
    if len(texts) == 1 and (texts[0] == value or _parsed(texts[0]) == value):
        return True
    return isinstance(value, list) and len(texts) == len(value) and all(map(_renders, [[t] for t in texts], value))


def _parsed(text: str) -> JsonValue:
    try:
        parsed: JsonValue = json.loads(text)
    except ValueError:
        return None
    return parsed


def _dump(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _text(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case EmbeddedResource():
            return _resource(block.resource)
        case ResourceLink():
            return f"[link to {block.uri}: {block.title or block.name}{_about(block.description)}]"
        case ImageContent():
            return f"[image, {_kind(block.mime_type, len(block.data))}]"
        case AudioContent():
            return f"[audio, {_kind(block.mime_type, len(block.data))}]"


def _resource(resource: TextResourceContents | BlobResourceContents) -> str:
    if isinstance(resource, TextResourceContents):
        return resource.text
    return f"[resource {resource.uri}, {_kind(resource.mime_type, len(resource.blob))}]"


def _kind(mime_type: str | None, base64_length: int) -> str:
    return f"{mime_type or 'unknown type'}, {base64_length * 3 // 4} bytes"


def _about(description: str | None) -> str:
    return f", {description}" if description else ""
