"""The machine whose Redis loses what it did last."""

import copy

from hypothesis import strategies as st
from hypothesis.stateful import precondition
from model.expected import Expected
from model.machine import BusMachine, happens


class RollingBackMachine(BusMachine):
    """The same, and once the server comes back with older data and another replication id."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: tuple[list[tuple[bytes, bytes]], dict[str, Expected]] | None = None

    @precondition(lambda self: self._kept is None)
    @happens()
    def keep(self) -> None:
        """What is on the disk."""
        node = self.servers.nodes[0]
        names = node.command("KEYS", "*")
        dumps = node.commands([("DUMP", name) for name in names])
        self._kept = (list(zip(names, dumps, strict=True)), copy.deepcopy(self.expected))

    @precondition(lambda self: self._kept is not None)
    @happens(at_once=st.booleans())
    def roll_back(self, at_once: bool) -> None:
        """The server restarts from it. Gateways connect again, and clients send again what was acknowledged since."""
        assert self._kept
        (dumps, kept), self._kept = self._kept, None
        node = self.servers.nodes[0]
        node.command("FLUSHALL")
        node.commands([("RESTORE", name, 0, dump) for name, dump in dumps])
        node.command("DEBUG", "CHANGE-REPL-ID")
        lost = {name: expected.accepted - kept[name].accepted for name, expected in self.expected.items()}
        words = {name: expected.approvals.words for name, expected in self.expected.items()}
        for name, expected in self.expected.items():
            approved = expected.approvals.approved
            expected.__dict__.update(kept[name].__dict__, rolled_back=True)
            expected.approvals.approved |= approved
            for owner in expected.owners.values():
                owner.token, owner.until_ms = "", 0  # of another epoch: void
        for reader in self.readers:
            reader.cut()
            if at_once:
                reader.reconnect()
        for name, said in words.items():
            for message_id in sorted(said.keys() - self.expected[name].approvals.words.keys()):
                client = self._client(self.names.index(name))
                client.spawn(client.decide(message_id, *said[message_id]))
        for name, message_ids in lost.items():
            for message_id in sorted(message_ids):
                client = self._client(self.names.index(name))
                again = client.switch if message_id.startswith("switch") else client.say
                client.spawn(again(message_id))
