"""The toolbox's settings; the only place where it reads the environment."""

from pathlib import Path

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

_FAMILIES = Path("voicebus") / "families.json"


class ToolboxSettings(BaseSettings):
    """Read from environment variables of the same names in capitals, after `TOOLBOX_`."""

    model_config = SettingsConfigDict(env_prefix="TOOLBOX_", frozen=True, extra="ignore", populate_by_name=True)

    families: Path | None = None  # the JSON file that families are kept in; None: in the user's state folder
    catalogue: Path | None = None  # a JSON file with the tables to describe; None: the built-in ones
    state_home: Path = Field(
        default=Path.home() / ".local" / "state", validation_alias=AliasChoices("XDG_STATE_HOME", "state_home")
    )

    @property
    def families_path(self) -> Path:
        """Where families are kept."""
        return self.families or self.state_home / _FAMILIES
