"""The tools for families: each user has their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from pydantic import Field

from agent_worker.toolbox.family_store import (
    MAX_FAMILIES,
    MAX_MEMBERS,
    Family,
    FamilyStore,
    Household,
    Member,
    family_name,
    person_name,
)

_READS: Final = ToolAnnotations(
    read_only_hint=True, idempotent_hint=True, destructive_hint=False, open_world_hint=False
)
_ADDS: Final = ToolAnnotations(
    read_only_hint=False, idempotent_hint=False, destructive_hint=False, open_world_hint=False
)
_REMOVES: Final = ToolAnnotations(
    read_only_hint=False, idempotent_hint=False, destructive_hint=True, open_world_hint=False
)
_NOBODY: Final = "anonymous"  # whose families they are if the client doesn't say

FamilyName = Annotated[str, Field(description="The name of the family, for example Smith", min_length=1, max_length=64)]
MemberName = Annotated[str, Field(description="The name of the person", min_length=1, max_length=64)]
Role = Annotated[str | None, Field(description="What the person is in the family, for example mother", max_length=64)]


def add_families(server: MCPServer, store: FamilyStore) -> None:
    """Offer the tools for families."""
    tools = FamilyTools(store)
    for function, annotations in (
        (tools.create_family, _ADDS),
        (tools.list_families, _READS),
        (tools.list_family_members, _READS),
        (tools.add_family_member, _ADDS),
        (tools.remove_family_member, _REMOVES),
        (tools.delete_family, _REMOVES),
    ):
        server.add_tool(function, annotations=annotations, structured_output=False)


class FamilyTools:
    """One method for each tool; the answers are sentences."""

    def __init__(self, store: FamilyStore) -> None:
        self._store = store

    def create_family(self, name: FamilyName, ctx: Context) -> str:
        """Create a new family with a name."""
        name = family_name(name)
        with self._changing(ctx) as household:
            if household.find(name):
                raise ToolError(f"There is a {name} family already.")
            if len(household.families) >= MAX_FAMILIES:
                raise ToolError(f"There are {MAX_FAMILIES} families already, and there can't be more.")
            household.families.append(Family(name=name))
        return f"The {name} family was created."

    def list_families(self, ctx: Context) -> str:
        """List all families that there are: which families and how many."""
        families = self._store.read(_user(ctx)).families
        if not families:
            return "There are no families yet."
        told = [f"{family.name} with {_count(len(family.members), 'member')}" for family in families]
        return f"There {'is' if len(families) == 1 else 'are'} {_count(len(families), 'family')}: {_listed(told)}."

    def list_family_members(self, family: FamilyName, ctx: Context) -> str:
        """Tell who is in a family: list its members."""
        found = _found(self._store.read(_user(ctx)), family)
        if not found.members:
            return f"The {found.name} family has no members yet."
        told = [f"{member.name}, the {member.role}" if member.role else member.name for member in found.members]
        return f"The {found.name} family has {_count(len(told), 'member')}: {'; '.join(told)}."

    def add_family_member(self, family: FamilyName, member: MemberName, ctx: Context, role: Role = None) -> str:
        """Add a person to a family as a new member."""
        name = person_name(member)
        with self._changing(ctx) as household:
            found = _found(household, family)
            if found.find(name):
                raise ToolError(f"{name} is in the {found.name} family already.")
            if len(found.members) >= MAX_MEMBERS:
                raise ToolError(f"The {found.name} family has {MAX_MEMBERS} members, and there can't be more.")
            found.members.append(Member(name=name, role=role))
        return f"{name} was added to the {found.name} family{f' as {role}' if role else ''}."

    def remove_family_member(self, family: FamilyName, member: MemberName, ctx: Context) -> str:
        """Remove a person from a family."""
        with self._changing(ctx) as household:
            found = _found(household, family)
            person = found.find(person_name(member))
            if person is None:
                raise ToolError(f"There is no {person_name(member)} in the {found.name} family.")
            found.members.remove(person)
        return f"{person.name} was removed from the {found.name} family."

    def delete_family(self, name: FamilyName, ctx: Context) -> str:
        """Delete a family with all its members."""
        with self._changing(ctx) as household:
            found = _found(household, name)
            household.families.remove(found)
        return f"The {found.name} family was deleted."

    @contextmanager
    def _changing(self, ctx: Context) -> Iterator[Household]:
        with self._store.change(_user(ctx)) as household:
            yield household


def _user(ctx: Context) -> str:
    """Whose session it is, as the agent worker tells in the request's metadata."""
    meta = ctx.request_context.meta or {}
    return str(dict(meta).get("voicebus/sub") or _NOBODY)


def _found(household: Household, name: str) -> Family:
    family = household.find(name)
    if family is None:
        names = [one.name for one in household.families]
        known = f" There {'is' if len(names) == 1 else 'are'} {_listed(names)}." if names else ""
        raise ToolError(f"There is no {family_name(name)} family.{known}")
    return family


def _count(count: int, noun: str) -> str:
    if count == 1:
        return f"one {noun}"
    return f"{count or 'no'} {noun.removesuffix('y') + 'ies' if noun.endswith('y') else noun + 's'}"


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
