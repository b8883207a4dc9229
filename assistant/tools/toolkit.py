"""The desk's skills as LangChain tools, for agents in a process that has the desk."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool, ToolException
from pydantic import BaseModel, InstanceOf

from assistant import payloads
from assistant.desk import inboxes, photo_questions
from assistant.desk.access import AgentPrincipal, MachinePrincipal, Scope
from assistant.desk.assess import assess, read_evidence
from assistant.desk.desk import Desk
from assistant.errors import AssistantError, NotAllowed
from assistant.knowledge import articles
from assistant.media.files import Upload
from assistant.tools import digest, offers
from assistant.tools.photos import read

# What the model reads, and the API's own answer for the program around it.
Answer = tuple[str, dict[str, Any]]


class DeskToolkit(BaseToolkit):
    """Each tool answers with JSON for the model; its artifact is the answer as the API gives it. What is refused is
    said to the model, in words. ``folder``: photos below it may be named by their paths. ``by``: on whose behalf photos
    of stored tickets are asked, with their rights (`desk.access`); without anybody, no tool knows stored tickets."""

    desk: InstanceOf[Desk]
    folder: Path | None = None
    by: InstanceOf[AgentPrincipal] | InstanceOf[MachinePrincipal] | None = None

    def get_tools(self) -> list[BaseTool]:
        asks = [_tool("ask_photo", offers.AskPhoto, self._ask_photo)] if self.by is not None else []
        return [
            _tool("search_articles", offers.SearchArticles, self._search_articles),
            _tool("triage_ticket", offers.TriageTicket, self._triage_ticket),
            _tool("read_photo", offers.ReadPhoto, self._read_photo),
            _tool("answer_question", offers.AnswerQuestion, self._answer_question),
            *asks,
        ]

    def _search_articles(self, query: str, product: str | None, inbox: str | None, limit: int) -> Answer:
        with self.desk.db.read() as session:
            inbox_id = inboxes.named(session, inbox).id if inbox is not None else None
        hits = articles.search_articles(self.desk.index, query, product=product, inbox_id=inbox_id, limit=limit)
        found = [payloads.Passage.of(hit.document).to_json() for hit in hits]
        return _answer({"passages": digest.passages(found)}, {"passages": found})

    def _triage_ticket(self, text: str, subject: str, photos: list[offers.GivenPhoto], inbox: str) -> Answer:
        whole = assess(self.desk, subject=subject, text=text, uploads=self._uploads(photos), inbox=inbox).to_json()
        return _answer(digest.assessment(whole), whole)

    def _read_photo(self, photo: offers.GivenPhoto) -> Answer:
        whole = read_evidence(self.desk, *self._uploads([photo])).to_json()
        return _answer(digest.evidence(whole), whole)

    def _answer_question(self, question: str, photos: list[offers.GivenPhoto], inbox: str) -> Answer:
        whole = assess(self.desk, text=question, uploads=self._uploads(photos), inbox=inbox).to_json()
        short = {**digest.draft(whole["draft"]), "rejected_files": digest.rejected(whole)}
        return _answer(short, whole["draft"])

    def _ask_photo(self, photo_id: str, question: str) -> Answer:
        if isinstance(self.by, MachinePrincipal):
            self.by.require(Scope.TICKETS_WRITE)
        if self.by is None or (isinstance(self.by, AgentPrincipal) and not self.by.may_write):
            raise NotAllowed("You may look at tickets, but not change them.")
        whole = photo_questions.ask(self.desk, self.by, photo_id, question).to_json()
        return _answer(digest.answered(whole), whole)

    def _uploads(self, given: list[offers.GivenPhoto]) -> list[Upload]:
        files = [read(photo, self.folder) for photo in given]
        return [Upload(name, None, data) for name, data in files]


def _answer(short: dict[str, Any], whole: dict[str, Any]) -> Answer:
    return json.dumps(short, ensure_ascii=False), whole


def _tool(name: str, arguments: type[BaseModel], work: Callable[..., Answer]) -> BaseTool:
    @wraps(work)
    def run(**given: Any) -> Answer:
        try:
            return work(**given)
        except AssistantError as error:
            raise ToolException(error.message) from error

    return StructuredTool.from_function(
        run,
        name=name,
        description=offers.describe(arguments),
        args_schema=arguments,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=True,
    )
