"""A text that a client may send again: it has an effect once by its `id`, which a header may bring, too."""

from typing import Annotated, Self

from fastapi import Header
from pydantic import BaseModel, ConfigDict, Field

from voicebus.contract.commands import MessageId
from voicebus.contract.errors import Refused

IdempotencyKey = Annotated[
    str | None, Header(min_length=1, max_length=64, description="The same as the `id` in the body.")
]


class NamedText(BaseModel):
    """A text that is not white space alone."""

    model_config = ConfigDict(regex_engine="python-re")  # whose white space those know who read the document

    id: MessageId | None = None
    content: str = Field(min_length=1, max_length=65_536, pattern=r"\S")

    def named(self, key: str | None) -> Self:
        """The text with its id, which the header may have brought.

        Raises:
            Refused: `id_conflict`.
        """
        if key is None or key == self.id:
            return self
        if self.id is not None:
            raise Refused("id_conflict", "The id in the body and the Idempotency-Key are not the same.")
        return self.model_copy(update={"id": key})
