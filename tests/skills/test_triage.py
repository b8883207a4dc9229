"""Triage of a ticket: probabilities over exactly the allowed labels, whatever is asked and whatever a model says."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assistant import sample
from assistant.engine.models.embeddings import SentenceEmbeddings
from assistant.engine.models.multilingual import offline_multilingual
from assistant.errors import EngineFailed, NotReady
from assistant.ports import Box, Capabilities, Embedder, TextLine
from assistant.skills import cues
from assistant.skills.priors import shares_by_similarity
from assistant.skills.read_photo import CANNOT_TELL, PhotoEvidence, Reading
from assistant.skills.taxonomy import Taxonomy, load_taxonomy
from assistant.skills.triage import SourceKind, TriagedField, categorise, triage
from assistant.skills.triage_fields import FIELDS, allowed_values
from tests.fakes import FakeDecisions, HashEmbeddings, fake_capabilities

TAXONOMY = load_taxonomy(sample.taxonomy_path())


def run(text: str, *, taxonomy: Taxonomy = TAXONOMY, **parts: Any) -> dict[str, TriagedField]:
    capabilities: Capabilities = fake_capabilities(**parts)
    return {field.name: field for field in triage(text, taxonomy=taxonomy, capabilities=capabilities)}


@pytest.fixture(scope="module")
def real() -> SentenceEmbeddings:
    """The offline sentence embeddings: where meaning is judged, the real thing is."""
    return SentenceEmbeddings("auto", device="cpu")


def test_a_category_alone_is_that_of_a_whole_triage_by_each_taxonomy() -> None:
    other = replace(TAXONOMY, categories=TAXONOMY.categories[:3])
    for text in ("It shows E21", "Where is my parcel?", "", "Ich möchte es zurückgeben"):
        whole = [run(text, taxonomy=taxonomy)["category"] for taxonomy in (TAXONOMY, other)]
        assert categorise(text, capabilities=fake_capabilities(), taxonomies=(TAXONOMY, other), heads={}) == whole


def check(fields: dict[str, TriagedField]) -> None:
    assert tuple(fields) == tuple(FIELDS)
    for field in fields.values():
        allowed = set(allowed_values(TAXONOMY, field.name))
        assert field.value in allowed
        assert set(field.probabilities) <= allowed
        assert sum(field.probabilities.values()) == pytest.approx(1.0, abs=1e-3)
        assert 0.0 <= field.probability <= 1.0


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=300))
def test_a_label_outside_the_taxonomy_is_impossible_for_any_text(text: str) -> None:
    check(run(text))


@settings(max_examples=25, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "nonsense"]), st.dictionaries(st.text(max_size=5), st.floats(0, 1))))
def test_it_is_impossible_for_any_decision_of_a_model(answers: dict[str, Any]) -> None:
    check(run("It shows E21", decisions=FakeDecisions(answers)))


def test_a_model_that_fails_leaves_the_triage_by_similarity() -> None:
    failing = run("It shows E21", decisions=FakeDecisions(error=EngineFailed("down")))
    check(failing)
    assert {name: field.value for name, field in failing.items()} == {
        name: field.value for name, field in run("It shows E21").items()
    }


MULTILINGUAL = offline_multilingual()  # opened once, by the first that asks


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "There is smoke coming out of the machine!",
        "The battery is swollen and hot.",
        "I got an electric shock from it.",
        "Aus dem Gerät kommt Rauch.",
        "Das Kabel brennt!",
        "My daughter was injured by the lid.",
        "la batería se ha hinchado",
        "ma batterie a gonflé comme un ballon",
        "Telefonumun bataryası şişmiş",
        "手机的电池鼓得像枕头",
        "バッテリーがぷっくり膨れてきました",
        "Thank you for the great service. By the way, the plug gives off sparks.",
    ],
)
def test_danger_is_urgent_and_for_a_person(text: str) -> None:
    fields = run(text, second_embedder=MULTILINGUAL)
    assert cues.read(text, fake_capabilities(second_embedder=MULTILINGUAL)).shows("dangerous")
    assert (fields["priority"].value, fields["needs_human"].value) == ("urgent", "yes")
    assert not fields["priority"].abstained
    assert not fields["needs_human"].abstained
    assert fields["priority"].sources[0].kind is SourceKind.TRAINED


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "There is no smoke and no fire.",
        "Which smoke detector fits?",
        "It shows E21.",
        "The light is red.",
        "Die Lampe brennt nicht.",
        "Warum brennt das orange Licht an meiner Maschine?",
        "My name is Sue, where is my parcel?",
        "Do you have the curtain in smoke grey?",
        "Is the fire place mantle still on sale?",
        "Neden kırmızı ışık yanıyor?",
        "Czemu pali się zielona lampka?",
    ],
)
def test_what_only_sounds_dangerous_stays_calm(text: str) -> None:
    fields = run(text, second_embedder=MULTILINGUAL)
    assert not cues.read(text, fake_capabilities(second_embedder=MULTILINGUAL)).shows("dangerous")
    assert fields["priority"].value != "urgent"
    assert fields["needs_human"].value == "no"


@pytest.mark.slow
def test_lawyers_are_for_a_person() -> None:
    assert run("My lawyer will contact you.", second_embedder=MULTILINGUAL)["needs_human"].value == "yes"


@pytest.mark.slow
def test_one_polite_word_makes_no_complaint_a_compliment() -> None:
    text = "Thanks, but I have been waiting for three weeks and nobody answers my mails."
    assert run(text, second_embedder=MULTILINGUAL)["sentiment"].value == "negative"


def test_without_the_multilingual_embedder_the_fields_are_decided_by_similarity() -> None:
    fields = run("How do I clean the filter?")
    for name in cues.FIELDS:
        assert fields[name].sources[0].kind is SourceKind.SIMILARITY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("The coffee machine does not heat up any more and shows an error.", "device_fault"),
        ("Where is my parcel? It should have come a week ago.", "delivery"),
    ],
)
def test_plain_tickets_find_their_category(real: SentenceEmbeddings, text: str, category: str) -> None:
    field = run(text, embeddings=real, embedding_model=real.name)["category"]
    assert field.value == category


@pytest.mark.slow
def test_a_ticket_about_nothing_we_do_is_not_guessed(real: SentenceEmbeddings) -> None:
    found = run("Please recommend a good novel about sailors.", embeddings=real, embedding_model=real.name)
    assert found["category"].abstained


class Listening(HashEmbeddings):
    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.heard += texts
        return super().embed_documents(texts)


@pytest.mark.parametrize(
    ("text", "abroad"),
    [
        ("Meine Kaffeemaschine zeigt seit gestern einen Fehler und pumpt kein Wasser mehr.", True),
        ("My coffee machine has shown an error since yesterday and pumps no water.", False),
    ],
)
def test_a_ticket_goes_to_the_embedder_that_reads_its_language(text: str, abroad: bool) -> None:
    own, second = Listening(), Listening()
    run(
        text,
        embeddings=own,
        embedding_model="own",
        embedding_languages=("en",),
        second_embedder=Embedder(second, "second", languages=("de", "en")),
    )
    assert (text in second.heard, text in own.heard) == (abroad, not abroad)


def test_every_embedder_has_its_own_scale() -> None:
    """All similarities of the second lie in a tenth of the range: the shares are the same."""

    class Narrow(HashEmbeddings):
        def embed_documents(self, texts: list[str]) -> list[list[float]]:
            wide = np.asarray(super().embed_documents(texts))
            common = np.full((len(texts), 1), math.sqrt(0.9))
            return np.hstack([wide * math.sqrt(0.1), common]).tolist()

    options = TAXONOMY.categories
    texts = ["The parcel is late", "The pump is broken"]
    wide, narrow = (
        shares_by_similarity(np.asarray(one.embed_documents(texts), dtype=np.float32), options, Embedder(one, name))
        for one, name in ((HashEmbeddings(), "wide"), (Narrow(), "narrow"))
    )
    assert np.allclose(wide, narrow, atol=1e-3)


def test_the_product_that_is_named_is_the_product() -> None:
    assert run("My BrewMaster 300 leaks.")["product"].value == "brewmaster-300"


@pytest.mark.parametrize("content", ["= broken", "[[categories]]\nkey = 1", "", "\x00"])
def test_a_taxonomy_that_is_none_is_one_clear_error(tmp_path: Any, content: str) -> None:
    file = tmp_path / "taxonomy.toml"
    file.write_text(content)
    with pytest.raises(NotReady, match=r"taxonomy\.toml"):
        load_taxonomy(file)


def seen(caption: str, *lines: str, composed: dict[str, str] | None = None) -> PhotoEvidence:
    unknown = Reading(CANNOT_TELL, 1.0)
    text = tuple(TextLine(line, 0.9, Box(0, 0, 1, 1)) for line in lines)
    return PhotoEvidence(Reading(caption, 0.9, composed=composed), unknown, unknown, Reading("good", 1.0), text)


INVOICE = seen("An invoice that was paid twice", "INVOICE", "Payment 2 x 89.90", "Credit card charged")
NOTHING = seen("A photo in which no text could be read.", composed={})


@pytest.mark.slow
def test_a_photo_says_what_the_text_leaves_open_and_less_the_more_the_text_says(real: SentenceEmbeddings) -> None:
    def category(text: str, *evidence: PhotoEvidence) -> TriagedField:
        known = fake_capabilities(embeddings=real, embedding_model=real.name)
        found = triage(text, evidence=evidence, taxonomy=TAXONOMY, capabilities=known)
        return next(field for field in found if field.name == "category")

    alone = category("", INVOICE)
    assert alone.value == category("See photo.", INVOICE).value == "billing_and_refund"
    told = "I was told the courier could not find our street, when will my parcel be delivered?"
    with_invoice = category(told, INVOICE)
    assert with_invoice.value == category(told).value == "delivery"
    assert with_invoice.probabilities["billing_and_refund"] > category(told).probabilities["billing_and_refund"]
    assert category(told, NOTHING) == category(told)


def test_of_several_products_it_is_the_one_that_the_customer_names_unless_those_are_several() -> None:
    hub = replace(NOTHING, product=Reading("homelink-x1", 0.95, Box(0, 0, 1, 1)))

    def product(text: str, *evidence: PhotoEvidence) -> TriagedField:
        found = triage(text, evidence=evidence, taxonomy=TAXONOMY, capabilities=fake_capabilities())
        return next(field for field in found if field.name == "product")

    assert product("See photo.", hub).value == "homelink-x1"
    named = product("My BrewMaster 300 leaks.", hub)
    assert (named.value, named.sources[0].kind) == ("brewmaster-300", SourceKind.WORDS)
    assert named.probability < product("My BrewMaster 300 leaks.").probability
    both = product("The BrewMaster 300 loses its connection to the HomeLink X1.", hub)
    assert (both.value, both.sources[0].kind) == ("homelink-x1", SourceKind.PHOTO)
    assert product("The BrewMaster 300 loses its connection to the HomeLink X1.").value == "brewmaster-300"
