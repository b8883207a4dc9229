"""A client of the API for Python programs: typed, patient, and light to import.

from assistant.client import Client

with Client("https://support.example.org", key="ask_…") as client:
    ticket = client.open_ticket("It blinks red, see photo.", photos=["display.jpg"])
    print(client.wait_for_triage(ticket["id"])["priority"])
"""

from assistant.client import shapes
from assistant.client.administration import Administration, ArticleFields, KeyLimits, NewCategory
from assistant.client.calls import Problem
from assistant.client.client import (
    AboutTicket,
    BatchTicket,
    Client,
    Events,
    HowSoon,
    NewDecision,
    NewRequester,
    TicketChanges,
    TicketsWanted,
)
from assistant.client.photos import GivenPhoto
from assistant.client.signatures import BadSignature, verify

__all__ = [
    "AboutTicket",
    "Administration",
    "ArticleFields",
    "BadSignature",
    "BatchTicket",
    "Client",
    "Events",
    "GivenPhoto",
    "HowSoon",
    "KeyLimits",
    "NewCategory",
    "NewDecision",
    "NewRequester",
    "Problem",
    "TicketChanges",
    "TicketsWanted",
    "shapes",
    "verify",
]
