"""The console's settings, for admins. What is done is what the command line does, by the same functions; each section
adds its pages, which are of the kinds in `console_pages`.
"""

from __future__ import annotations

from assistant.web import (
    console_audit,
    console_fields,
    console_guardrails,
    console_inbox_pages,
    console_keys,
    console_machine,
    console_mail,
    console_people,
    console_products,
    console_rules,
    console_taxonomy,
    console_webhooks,
)
from assistant.web.console_pages import blueprint

__all__ = ["blueprint"]

SECTIONS = (
    console_audit,
    console_people,
    console_inbox_pages,
    console_guardrails,
    console_taxonomy,
    console_products,
    console_fields,
    console_rules,
    console_keys,
    console_webhooks,
    console_machine,
    console_mail,
)
