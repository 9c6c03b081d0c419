"""Tools of invented MCP servers, each in another style, as the model gets them."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Tool:
    name: str
    description: str | None = None
    parameters_json_schema: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


def tool(
    name: str, description: str | None, required: str = "", defs: dict[str, Any] | None = None, /, **properties: Any
) -> Tool:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "required": required.split()}
    return Tool(name, description, schema | ({"$defs": defs} if defs else {}))


def text(description: str = "", **more: Any) -> dict[str, Any]:
    return {"type": "string", **({"description": description} if description else {}), **more}


def whole(description: str = "", **more: Any) -> dict[str, Any]:
    return {**text(description, **more), "type": "integer"}


def number(description: str = "", **more: Any) -> dict[str, Any]:
    return {**text(description, **more), "type": "number"}


def flag(description: str = "", **more: Any) -> dict[str, Any]:
    return {**text(description, **more), "type": "boolean"}


def optional(schema: dict[str, Any]) -> dict[str, Any]:
    """As pydantic writes `X | None = None`."""
    description = schema.pop("description", None)
    return {
        "anyOf": [schema, {"type": "null"}],
        "default": None,
        **({"description": description} if description else {}),
    }


ROOMS = ["living_room", "kitchen", "bedroom", "bathroom", "garage"]

HOME = [
    tool("turn_on_light", "Turn on the light in a room.", "room", room=text("The room", enum=ROOMS)),
    tool("turn_off_light", "Turn off the light in a room.", "room", room=text("The room", enum=ROOMS)),
    tool(
        "set_brightness",
        "Dim or brighten the light in a room.",
        "room percent",
        room=text("The room", enum=ROOMS),
        percent=whole("Brightness in percent", minimum=0, maximum=100),
    ),
    tool(
        "set_thermostat",
        "Set the target temperature of a room.",
        "temperature",
        temperature=number("Target temperature in degrees Celsius", minimum=5, maximum=30),
        room=optional(text("The room; all rooms if left out", enum=ROOMS)),
    ),
    tool("lock_door", "Lock a door.", "door", door=text("Which door", enum=["front", "back", "garage"])),
    tool("unlock_door", "Unlock a door.", "door", door=text("Which door", enum=["front", "back", "garage"])),
    tool(
        "start_vacuum",
        "Send the robot vacuum cleaner to clean.",
        rooms={"type": "array", "items": {"enum": ROOMS}, "description": "Rooms to clean; everywhere if left out"},
        quiet=flag("Clean quietly", default=False),
    ),
    tool(
        "get_energy_usage", "Report how much electricity was used on a day.", "day", day=text("The day", format="date")
    ),
    tool("open_blinds", "Open the blinds in a room.", "room", room=text("The room", enum=ROOMS)),
    tool("close_blinds", "Close the blinds in a room.", "room", room=text("The room", enum=ROOMS)),
]

CALENDAR = [
    tool(
        "createEvent",
        "Creates a new event in the user's calendar.",
        "title startTime",
        title=text("Title of the event"),
        startTime=text("When the event starts", format="date-time"),
        durationMinutes=whole("How long it lasts, in minutes", default=60, minimum=5),
        attendees={"type": "array", "items": {"type": "string"}, "description": "Names of the people to invite"},
        location=optional(text("Where it takes place")),
    ),
    tool("listEvents", "Lists the events on a given day.", "date", date=text("The day to look at", format="date")),
    tool("deleteEvent", "Deletes an event from the calendar.", "eventId", eventId=whole("Number of the event")),
    tool(
        "rescheduleEvent",
        "Moves an event to another time.",
        "eventId newStartTime",
        eventId=whole("Number of the event"),
        newStartTime=text("The new start", format="date-time"),
    ),
    tool(
        "findFreeSlot",
        "Finds a free slot for a meeting.",
        "date minutes",
        date=text("", format="date"),
        minutes=whole("Length"),
    ),
    tool(
        "setReminder",
        "Reminds the user of something.",
        "text",
        text=text("What the user wants to be reminded of"),
        at=optional(text("When to remind", format="date-time")),
    ),
    tool(
        "declineInvitation",
        "Declines an invitation.",
        "sender",
        sender=text("Who sent it"),
        reason=optional(text("Why")),
    ),
    tool(
        "getHolidays",
        "Public holidays of a country in a year.",
        "country",
        country=text("The country"),
        year=whole("The year"),
    ),
]

ADDRESS = {
    "Address": {
        "type": "object",
        "title": "Address",
        "properties": {
            "street": text("Street and number"),
            "city": text("Town"),
            "zip_code": text("", pattern=r"^\d{5}$"),
        },
        "required": ["street", "city"],
    },
    "Size": {"enum": ["S", "M", "L", "XL"], "title": "Size", "type": "string"},
}

SHOP = [
    tool(
        "get-order-status",
        "Look up where an order is.",
        "order-id",
        **{"order-id": text("Order number, for example 48213")},
    ),
    tool(
        "list-orders",
        "List the customer's orders.",
        status=text("Only orders in this state", enum=["pending", "in-transit", "delivered", "cancelled"]),
        limit=whole("At most so many", minimum=1, maximum=50, default=10),
    ),
    tool(
        "cancel-order",
        "Cancel an order that was not shipped yet.",
        "order-id",
        **{"order-id": text("Order number"), "reason": optional(text("Why it is cancelled"))},
    ),
    tool(
        "search-products",
        "Search the catalogue for products.",
        "query",
        query=text("Words to look for"),
        max_price=number("Highest price"),
    ),
    tool(
        "add-to-basket",
        "Put a product into the shopping basket.",
        "product quantity",
        ADDRESS,
        product=text("Name of the product"),
        quantity=whole("How many", minimum=1),
        size=optional({"$ref": "#/$defs/Size"}),
        **{"gift-wrap": flag("Wrap it as a gift")},
    ),
    tool(
        "change-delivery-address",
        "Have an order delivered to another address.",
        "address",
        ADDRESS,
        address={"$ref": "#/$defs/Address"},
    ),
    tool(
        "apply-coupon",
        "Apply a coupon code to the basket.",
        "code",
        code=text("The coupon's code", pattern="^[A-Z0-9]+$"),
    ),
    tool(
        "rate-product",
        "Rate a product with stars.",
        "product stars",
        product=text("Name"),
        stars=whole("Stars", minimum=1, maximum=5),
    ),
    tool(
        "checkout",
        "Pay for what is in the basket.",
        "method",
        method=text("How to pay", enum=["credit_card", "paypal", "invoice"]),
    ),
]

BUGS = [
    tool(
        "IssueCreate",
        "Open a new issue.\n\nArgs:\n    summary: one line\n    severity: how bad it is",
        "summary severity",
        summary={"type": "string", "title": "Summary"},
        severity={"type": "string", "title": "Severity", "enum": ["blocker", "major", "minor", "trivial"]},
        component={"type": ["string", "null"], "title": "Component"},
    ),
    tool(
        "IssueAssign",
        "Assign an issue to a developer.",
        "issue assignee",
        issue={"type": "integer"},
        assignee={"type": "string"},
    ),
    tool(
        "IssueClose",
        "Close an issue.",
        "issue",
        issue={"type": "integer"},
        resolution={"enum": ["fixed", "wont_fix", "duplicate"]},
    ),
    tool("IssueReopen", "Reopen a closed issue.", "issue", issue={"type": "integer"}),
    tool("CommentAdd", "Add a comment to an issue.", "issue body", issue={"type": "integer"}, body={"type": "string"}),
    tool(
        "IssueSearch",
        "Find issues.",
        "",
        text={"type": "string", "description": "words in the summary"},
        assignee={"type": "string"},
        open_only={"type": "boolean", "default": True},
    ),
    tool(
        "IssueSetPriority",
        "Change how urgent an issue is.",
        "issue priority",
        issue={"type": "integer"},
        priority={"type": "integer", "minimum": 1, "maximum": 5},
    ),
    tool(
        "VersionRelease",
        "Release a version of a project.",
        "project version",
        project={"type": "string"},
        version={"type": "string"},
    ),
    tool("SprintStart", "Start a sprint.", "name weeks", name={"type": "string"}, weeks={"type": "integer"}),
    tool("WorkLog", "Log hours spent on an issue.", "issue hours", issue={"type": "integer"}, hours={"type": "number"}),
]

TRAVEL = [
    tool(
        "search_flights",
        "Search for flights between two airports or cities.",
        "origin destination departure_date",
        origin=text("City to fly from"),
        destination=text("City to fly to"),
        departure_date=text("Day of departure", format="date"),
        passengers=whole("Number of passengers", default=1, minimum=1, maximum=9),
        cabin=text("Class", enum=["economy", "premium_economy", "business", "first"]),
    ),
    tool(
        "book_hotel",
        "Book a hotel room.",
        "city check_in nights",
        city=text("City"),
        check_in=text("First night", format="date"),
        nights=whole("How many nights", minimum=1),
        breakfast=flag("With breakfast"),
    ),
    tool(
        "get_weather",
        "Current weather and forecast for a place.",
        "location",
        location=text("City or place"),
        days=whole("Days ahead"),
    ),
    tool(
        "convert_currency",
        "Convert an amount of money from one currency to another.",
        "amount from_currency to_currency",
        amount=number("How much"),
        from_currency=text("Currency to convert from", enum=["USD", "EUR", "GBP", "JPY", "CHF"]),
        to_currency=text("Currency to convert to", enum=["USD", "EUR", "GBP", "JPY", "CHF"]),
    ),
    tool(
        "translate_phrase",
        "Translate a phrase into another language.",
        "phrase language",
        phrase=text("What to translate"),
        language=text("Target language"),
    ),
    tool(
        "find_restaurants",
        "Find restaurants nearby.",
        "location",
        location=text("Where"),
        cuisine=text("Kind of food, for example thai"),
    ),
    tool(
        "rent_car",
        "Rent a car.",
        "city days",
        city=text("Where to pick it up"),
        days=whole("For how many days"),
        automatic=flag("Automatic gearbox"),
    ),
    tool(
        "flight_status",
        "Tell whether a flight is on time.",
        "flight_number",
        flight_number=text("Such as LH400", pattern=r"^[A-Z]{2}\d{1,4}$"),
    ),
]

MUSIC = [
    tool(
        "play_track",
        "Start playing a track.",
        "track",
        track=text("Title of the track"),
        artist=optional(text("Who performs it")),
    ),
    tool("pause_playback", "Pause the music."),
    tool("resume_playback", "Continue the music after a pause."),
    tool("next_track", "Skip to the next track."),
    tool(
        "set_volume",
        "Change how loud the music is.",
        "level",
        level=whole("Volume from 0 to 100", minimum=0, maximum=100),
    ),
    tool(
        "create_playlist",
        "Create an empty playlist.",
        "name",
        name=text("Name of the playlist"),
        public=flag("Everybody can see it"),
    ),
    tool(
        "add_to_playlist",
        "Add a track to a playlist.",
        "playlist track",
        playlist=text("Which playlist"),
        track=text("Which track"),
    ),
    tool("whats_playing", "Tell which track is being played."),
    tool("set_sleep_timer", "Stop the music after some time.", "minutes", minutes=whole("After how many minutes")),
    tool(
        "play_radio",
        "Play a radio station.",
        "genre",
        genre=text("Kind of music", enum=["jazz", "rock", "classical", "hip_hop"]),
    ),
]

BANK = [
    tool(
        "getBalance",
        "Returns the balance of an account.",
        "account",
        account=text("The account", enum=["checking", "savings", "creditCard"]),
    ),
    tool(
        "transferMoney",
        "Transfers money to somebody.",
        "recipient amount",
        recipient=text("Who receives the money"),
        amount=number("Amount in euros", exclusiveMinimum=0),
        fromAccount=text("Account to take it from", enum=["checking", "savings"]),
        reference=text("What it is for"),
        executionDate=text("When to transfer it", format="date"),
    ),
    tool(
        "listTransactions",
        "Lists the latest transactions of an account.",
        "account",
        account=text("", enum=["checking", "savings", "creditCard"]),
        count=whole("How many", maximum=100),
    ),
    tool(
        "blockCard",
        "Blocks a card that was lost or stolen.",
        "lastDigits",
        lastDigits=text("The last four digits of the card", pattern=r"^\d{4}$"),
    ),
    tool(
        "openAccount",
        "Opens a new account.",
        "type",
        type=text("Kind of account", enum=["checking", "savings", "joint"]),
        currency=text("", enum=["EUR", "USD"]),
    ),
    tool(
        "getExchangeRate",
        "Returns the exchange rate between two currencies.",
        "base quote",
        base=text("", enum=["EUR", "USD", "GBP"]),
        quote=text("", enum=["EUR", "USD", "GBP"]),
    ),
    tool(
        "scheduleStandingOrder",
        "Sets up a payment that is repeated.",
        "payee amount interval",
        payee=text("Who is paid"),
        amount=number(""),
        interval=text("", enum=["weekly", "monthly", "yearly"]),
    ),
    tool("findBranch", "Finds the nearest branch.", "city", city=text("Town")),
]

SERVERS = {
    "music": MUSIC,
    "bank": BANK,
    "home": HOME,
    "calendar": CALENDAR,
    "shop": SHOP,
    "bugs": BUGS,
    "travel": TRAVEL,
}
