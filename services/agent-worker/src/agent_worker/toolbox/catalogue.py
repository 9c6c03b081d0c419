"""A catalogue of database tables that can be listed, described and searched."""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Final, Literal

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import BaseModel, Field

_MAX_HITS: Final = 10
_PREFIXES: Final = frozenset({"fact", "facts", "dim", "dimv", "dimension", "bs", "table", "the", "view"})
_ANNOTATIONS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)

TableType = Literal["FACT", "DIMENSION"]


class Column(BaseModel):
    """A column of a table."""

    name: str
    type: str
    description: str


class Table(BaseModel):
    """A table; the description continues "it holds"."""

    name: str
    type: TableType
    description: str
    columns: list[Column]

    @property
    def words(self) -> list[str]:
        """The words of the name that tell it from others: purchase order."""
        return [word for word in self.name.split("_") if word not in _PREFIXES]


class TableEntry(BaseModel):
    """A table in a list."""

    name: str
    type: TableType


class Catalogue(BaseModel):
    """All tables."""

    tables: list[Table]


def read_catalogue(path: Path | None) -> Catalogue:
    """The catalogue in a JSON file; the built-in one without a path."""
    source = resources.files(__package__).joinpath("catalogue.json") if path is None else path
    return Catalogue.model_validate_json(source.read_text(encoding="utf-8"))


def add_catalogue(server: MCPServer, catalogue: Catalogue) -> None:
    """Offer the tools for the catalogue."""
    tools = CatalogueTools(catalogue)
    server.add_tool(tools.list_tables, annotations=_ANNOTATIONS)
    server.add_tool(tools.describe_table, annotations=_ANNOTATIONS, structured_output=False)
    server.add_tool(tools.search_catalogue, annotations=_ANNOTATIONS, structured_output=False)


class CatalogueTools:
    """One method for each tool."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._tables = catalogue.tables

    def list_tables(
        self,
        type: Annotated[TableType | None, Field(description="Only tables of this type")] = None,  # noqa: A002 - what clients see
    ) -> list[TableEntry]:
        """List the tables of the data catalogue: which tables are available."""
        return [TableEntry(name=table.name, type=table.type) for table in self._tables if type in {None, table.type}]

    def describe_table(
        self,
        table: Annotated[str, Field(description="The name of the table, for example purchase order", max_length=128)],
    ) -> str:
        """Describe a table of the data catalogue: what it holds and which columns it has."""
        found = self._found(table)
        columns = "; ".join(f"{column.name}, {column.description}" for column in found.columns)
        kind = "fact table" if found.type == "FACT" else "dimension"
        return (
            f"{found.name} is a {kind}. It holds {found.description}. It has {len(found.columns)} columns: {columns}."
        )

    def search_catalogue(
        self, query: Annotated[str, Field(description="The words to search for", min_length=1, max_length=128)]
    ) -> str:
        """Search the data catalogue for tables and columns about something."""
        wanted = set(_words(query)) - _PREFIXES
        hits = [hit for table in self._tables for hit in _hits(table, wanted)][:_MAX_HITS]
        if not hits:
            return f"Nothing in the catalogue is about {query}."
        return f"There {'is one hit' if len(hits) == 1 else f'are {len(hits)} hits'} for {query}: {'; '.join(hits)}."

    def _found(self, said: str) -> Table:
        words = [word for word in _words(said) if word not in _PREFIXES]
        for table in self._tables:
            if said.strip().lower() == table.name or words == [_singular(word) for word in table.words]:
                return table
        names = {" ".join(table.words): table for table in self._tables}
        near = difflib.get_close_matches(" ".join(words), names, n=1, cutoff=0.75)
        if near:
            return names[near[0]]
        raise ToolError(
            f"There is no table called {said}. There are {', '.join(table.name for table in self._tables)}."
        )


def _hits(table: Table, wanted: set[str]) -> list[str]:
    """Where the words are found: the table itself, or its columns."""
    if wanted <= {*map(_singular, table.words), *_words(table.description)}:
        return [f"the table {table.name}"]
    return [
        f"the column {column.name} of {table.name}"
        for column in table.columns
        if wanted <= {*_words(column.name.replace("_", " ")), *_words(column.description)}
    ]


def _words(text: str) -> list[str]:
    return [_singular(word) for word in re.findall(r"[a-z0-9]+", text.lower().replace("_", " "))]


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word
