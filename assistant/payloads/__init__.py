"""What clients see: one shape and one maker for each thing, the same through HTTP, server-sent events and the CLI.

A maker takes what is already loaded: no queries, no permissions. Whoever calls it has checked what the client may see.
"""

from assistant.payloads.conversations import (
    Attachment,
    Attention,
    Citation,
    Conversation,
    Figure,
    Message,
    MessagePart,
    Rating,
    RejectedFile,
)
from assistant.payloads.events import Event, TicketReference
from assistant.payloads.knowledge import Article, ArticleSection, FoundArticle, Passage
from assistant.payloads.payload import Payload
from assistant.payloads.people import Agent, Customer, Inbox
from assistant.payloads.photos import Evidence, Reading, TextLine
from assistant.payloads.tickets import (
    Alternative,
    Assessment,
    Contradiction,
    Draft,
    Figures,
    LearnedHead,
    Person,
    Relation,
    Requester,
    SLAClock,
    Team,
    Ticket,
    TicketAttachment,
    TicketLink,
    TicketMessage,
    TicketSummary,
    Triage,
    TriageField,
    Trial,
)
from assistant.payloads.widget import OwnConversation, WidgetCustomer, WidgetSession

__all__ = [
    "Agent",
    "Alternative",
    "Article",
    "ArticleSection",
    "Assessment",
    "Attachment",
    "Attention",
    "Citation",
    "Contradiction",
    "Conversation",
    "Customer",
    "Draft",
    "Event",
    "Evidence",
    "Figure",
    "Figures",
    "FoundArticle",
    "Inbox",
    "LearnedHead",
    "Message",
    "MessagePart",
    "OwnConversation",
    "Passage",
    "Payload",
    "Person",
    "Rating",
    "Reading",
    "RejectedFile",
    "Relation",
    "Requester",
    "SLAClock",
    "Team",
    "TextLine",
    "Ticket",
    "TicketAttachment",
    "TicketLink",
    "TicketMessage",
    "TicketReference",
    "TicketSummary",
    "Triage",
    "TriageField",
    "Trial",
    "WidgetCustomer",
    "WidgetSession",
]
