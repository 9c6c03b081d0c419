"""MCP servers that nobody has seen before: names, parameters and choices are drawn from a list of words."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from unit.agent_rules.invented_servers import Tool
from unit.agent_rules.spelling import spelled, spelled_decimal

# No two of them sound alike: what may be misheard is taken for what was named.
NOUNS = """
acorn alley amber anchor apron arrow attic badge bagel banjo barrel basket beacon beard bishop blanket blossom bottle
boulder bracket branch brick bridge bronze bubble bucket buffalo cabin cactus camel candle canoe canyon carpet castle
cavern cedar chapel cherry chimney chisel cinnamon clover cobalt coffin comet copper coral cotton cradle crater
crystal curtain cushion daisy dagger desert diamond dolphin donkey dragon drawer eagle elbow emerald engine falcon
feather fiddle finger flannel flute forest fossil fountain garlic gazelle ginger glacier goblet granite gravel griffin
hammer hammock harbor harness hazel helmet hermit honey hornet island ivory jacket jaguar jasmine jersey jewel kettle
ladder lagoon lantern lavender lemon leopard linen lizard lobster locket lotus magnet maple marble meadow melon mirror
mitten monkey mosaic muffin napkin nectar needle nugget nutmeg oasis olive onion orbit orchid otter oyster paddle
panther pebble pelican pepper pigeon pillow pirate planet plaster pocket pollen poplar prairie pumpkin puppet puzzle
quartz rabbit raccoon radish rafter raven ribbon riddle rocket saddle saffron salmon sapphire satchel scarf shadow
shepherd shovel silver skeleton slipper sparrow spider spiral squirrel statue summit sunset swallow tangle temple
thistle thunder tiger timber tractor trumpet tulip tunnel turtle valley vanilla velvet violet walnut walrus whistle
willow window winter wizard yogurt zebra
"""
DEEDS = """
polish paint fold melt weld sketch harvest toast juggle launch wrap bake carve dig freeze grind knit measure mow peel
pluck pour rinse roast scrub shave shuffle sift slice sort spin spray sprinkle squeeze stack stir sweep tickle trim
twist varnish vacuum wash weigh whisk inspect calibrate deploy
"""
WORDS, VERBS = NOUNS.split(), DEEDS.split()
STYLES: list[Callable[[list[str]], str]] = [
    "_".join,
    "-".join,
    lambda parts: parts[0] + "".join(part.capitalize() for part in parts[1:]),
    lambda parts: "".join(part.capitalize() for part in parts),
]


@dataclass
class Wish:
    """A sentence, and the call that it asks for."""

    sentence: str
    tool: str
    arguments: dict[str, Any]


@dataclass
class Value:
    name: str
    said: str
    value: Any


class RandomServer:
    """A server of some tools, and sentences that ask for them."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._words = chance.sample(WORDS, len(WORDS))
        self._verbs = chance.sample(VERBS, len(VERBS))
        self._join = chance.choice(STYLES)
        self._parts: dict[str, list[str]] = {}
        self.tools = [self._tool() for _ in range(chance.randint(5, 9))]

    def wish(self) -> Wish:
        """A sentence that names a tool and gives a value to each of its parameters."""
        tool = self._chance.choice(self.tools)
        return self._wish(tool, list(tool.parameters_json_schema["properties"]))

    def unfinished_wish(self) -> tuple[Wish, str, str]:
        """A wish without one required parameter, the name of that one as words, and an answer that gives it."""
        tool = self._chance.choice(self.tools)
        schema = tool.parameters_json_schema
        left_out = self._chance.choice(schema["required"])
        wish = self._wish(tool, [name for name in schema["properties"] if name != left_out])
        value = self._value(left_out, schema["properties"][left_out])
        wish.arguments = {**wish.arguments, left_out: value.value}
        return wish, self._spoken(left_out), value.said

    def _tool(self) -> Tool:
        parts = [self._verbs.pop(), *(self._words.pop() for _ in range(self._chance.randint(1, 2)))]
        properties = dict(self._property() for _ in range(self._chance.randint(1, 3)))
        description = self._chance.choice(
            ["", f"{parts[0].capitalize()} the {' '.join(parts[1:])}.", f"Deals with the {parts[-1]}."]
        )
        schema = {"type": "object", "properties": properties, "required": list(properties)}
        name = self._join(parts)
        self._parts[name] = parts
        return Tool(name, description or None, schema)

    def _property(self) -> tuple[str, dict[str, Any]]:
        parts = [self._words.pop() for _ in range(self._chance.randint(1, 2))]
        name = self._join(parts)
        self._parts[name] = parts
        choices = [self._join([self._words.pop(), self._words.pop()]), self._words.pop(), self._words.pop()]
        schema: dict[str, Any] = self._chance.choice(
            [
                {"type": "string"},
                {"type": "integer"},
                {"type": "number"},
                {"type": "string", "enum": choices},
                {"type": "string"},
            ]
        )
        for choice in schema.get("enum", ()):
            self._parts[choice] = [part.lower() for part in _split(choice)]
        return name, dict(schema)

    def _wish(self, tool: Tool, names: list[str]) -> Wish:
        values = [self._value(name, tool.parameters_json_schema["properties"][name]) for name in names]
        self._chance.shuffle(values)
        said = [(self._spoken(value.name), value.said) for value in values]
        verb, noun = self._parts[tool.name][0], " ".join(self._parts[tool.name][1:])
        shapes = [
            f"please {verb} the {noun} with " + " and ".join(f"{name} {value}" for name, value in said),
            f"{verb} {noun} " + " ".join(f"{name} {value}" for name, value in said),
            f"could you {verb} a {noun} whose " + " and whose ".join(f"{name} is {value}" for name, value in said),
            f"i want to {verb} the {noun} with " + " and ".join(f"a {name} of {value}" for name, value in said),
            f"{verb} the {noun} and set the " + " and the ".join(f"{name} to {value}" for name, value in said),
            f"{verb.capitalize()} the {noun}: " + ", ".join(f"{name} {value}" for name, value in said) + ".",
            f"{verb} the {noun} using " + " and ".join(f"{value} as the {name}" for name, value in said),
        ]
        sentence = self._chance.choice(shapes) if said else f"please {verb} the {noun}"
        return Wish(sentence, tool.name, {value.name: value.value for value in values})

    def _value(self, name: str, schema: dict[str, Any]) -> Value:
        if "enum" in schema:
            value = self._chance.choice(schema["enum"])
            return Value(name, self._spoken(value), value)
        match schema["type"]:
            case "integer":
                whole = self._chance.choice([self._chance.randint(2, 99), self._chance.randint(100, 99_999)])
                return Value(name, spelled(whole), whole)
            case "number":
                decimal = f"{self._chance.randint(-40, 900)}.{self._chance.randint(1, 9)}{self._chance.randint(1, 9)}"
                return Value(name, spelled_decimal(decimal), float(decimal))
            case _:
                text = " ".join(self._words.pop() for _ in range(self._chance.randint(1, 2)))
                return Value(name, text, text)

    def _spoken(self, identifier: str) -> str:
        return " ".join(self._parts[identifier])


def _split(identifier: str) -> list[str]:
    spaced = "".join(f" {c}" if c.isupper() else c for c in identifier)
    return spaced.replace("_", " ").replace("-", " ").split()
