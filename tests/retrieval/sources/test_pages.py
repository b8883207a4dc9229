"""Web pages: folded answers are read under what opens them, and what surrounds the content is left out by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from assistant.retrieval.loaders import ArticleSource, load
from assistant.retrieval.sources.page import read_html
from assistant.retrieval.splitting import split


def _article(folder: Path, body: str, head: str = "") -> ArticleSource:
    page = f"<!doctype html><html lang=en><head><meta charset=utf-8>{head}</head><body>{body}</body></html>"
    (folder / "page.html").write_text(page, encoding="utf-8")
    loaded = load(folder / "page.html")
    assert loaded.failed == []
    return loaded.articles[0]


def _passages(folder: Path, body: str, head: str = "") -> list[str]:
    return [f"{passage.heading}: {passage.text}" for passage in split(_article(folder, body, head))]


FOLDED = {
    "buttons before panels": (
        "<h1>Pump</h1><button class=fold>Why does it hum at night?</button><div><p>Air is in it.</p></div>"
        "<button class=fold>How is it drained?</button><div><p>Open the plug.</p></div>"
    ),
    "buttons in headings": (
        "<h1>Pump</h1><h3><button aria-expanded=false aria-controls=a>Why does it hum at night?</button></h3>"
        "<div id=a hidden><p>Air is in it.</p></div><h3><button aria-expanded=false>How is it drained?</button></h3>"
        "<div style='display: none'><p>Open the plug.</p></div>"
    ),
    "tabs": (
        "<h1>Pump</h1><ul role=tablist><li><a role=tab href='#a'>Why does it hum at night?</a><li>"
        "<a role=tab href='#b'>"
        "How is it drained?</a></ul><div id=a role=tabpanel>Air is in it.</div><div id=b role=tabpanel hidden>"
        "Open the plug.</div>"
    ),
    "tabs that their panels name": (
        "<h1>Pump</h1><div role=tablist><button role=tab id=t>Why does it hum at night?</button><button role=tab id=u>"
        "How is it drained?</button></div><section role=tabpanel aria-labelledby=t>Air is in it.</section>"
        "<section role=tabpanel aria-labelledby=u hidden>Open the plug.</section>"
    ),
    "details": (
        "<h1>Pump</h1><details><summary>Why does it hum at night?</summary>Air is in it.</details>"
        "<details><summary>How is it drained?</summary><p>Open the plug.</p></details>"
    ),
    "boxes and labels": (
        "<h1>Pump</h1><div><input type=checkbox id=a><label for=a>Why does it hum at night?</label>"
        "<div>Air is in it.</div>"
        "</div><div><input type=checkbox id=b><label for=b>How is it drained?</label><div>Open the plug.</div></div>"
    ),
    "buttons in list items": (
        "<h1>Pump</h1><ul><li><div><button aria-expanded=false>Why does it hum at night?</button></div><div hidden>"
        "Air is in it.</div><li><div><button aria-expanded=false>How is it drained?</button></div><div hidden>"
        "Open the plug.</div></ul>"
    ),
    "definitions": (
        "<h1>Pump</h1><dl><dt>Why does it hum at night?<dd><p>Air is in it.</p><dt>How is it drained?"
        "<dd><p>Open the plug.</p></dl>"
    ),
}


@pytest.mark.parametrize("page", FOLDED.values(), ids=FOLDED)
def test_a_folded_answer_stands_under_its_question(tmp_path: Path, page: str) -> None:
    assert _passages(tmp_path, page) == [
        "Pump > Why does it hum at night?: Air is in it.",
        "Pump > How is it drained?: Open the plug.",
    ]


def test_what_follows_a_folded_part_is_not_part_of_it(tmp_path: Path) -> None:
    page = (
        "<h1>Oven</h1><details><summary>Codes</summary><details><summary>F5</summary>Fan.</details></details>"
        "<p>Call us otherwise.</p>"
    )
    assert _passages(tmp_path, page) == ["Oven > Codes > F5: Fan.", "Oven: Call us otherwise."]


KEPT = {
    "a folded answer that no attribute names": (
        "<div onclick='fold(this)'>Which salt?</div><div style='display:none'>Coarse salt.</div>",
        ["Which salt?", "Coarse salt."],
    ),
    "a form around the page": (
        "<form method=post><p>H-07 means low pressure.</p><label for=m>Your address</label><input id=m></form>",
        ["H-07 means low pressure."],
    ),
    "a warning beside the text": ("<main><p>Open it.</p><aside>Unplug first, 230 V.</aside></main>", ["Unplug first"]),
    "a dialog": ("<button>Sizes</button><dialog><p>Filter S fits the K2.</p></dialog>", ["Filter S fits"]),
    "several articles": ("<article><p>Motor stuck.</p></article><article><p>Belt torn.</p></article>", ["Belt torn."]),
    "navigation that is the text": (
        f"<nav><p>E-5 means that the pump has stopped. {'Clean the filter under warm water. ' * 4}</p></nav>",
        ["E-5 means"],
    ),
    "links in the content": (
        "<main><ul><li><a href=a.pdf>Manual K5</a><li><a href=b.pdf>Manual K6</a>"
        "<li><a href=c.pdf>Manual K7</a></ul></main>",
        ["- Manual K6"],
    ),
    "the footer of an article": ("<article><p>Do it.</p><footer>For models of 2021.</footer></article>", ["2021"]),
    "what scripts replace": ("<noscript><h2>Reset</h2><p>Hold the key.</p></noscript>", ["Hold the key."]),
    "a button in a sentence": ("<p>Press <button>OK</button> twice.</p>", ["Press OK twice."]),
    "a picture in a sentence": ("<p>Press <img src=x.png alt=power> twice.</p>", ["Press power twice."]),
    "inserted text": ("<p>It costs <del>10</del><ins>12</ins>, not <s>99</s> more.</p>", ["It costs 12, not more."]),
    "superscripts": ("<p>20 m<sup>2</sup>, 10<sup>3</sup> l of CO<sub>2</sub></p>", ["20 m², 10³ l of CO2"]),
    "hyphens that are not seen": ("<p>Ther&shy;mo&shy;stat, code Q\u200b-44.</p>", ["Thermostat, code Q-44."]),
    "codes at full width": ("<p>代码 Ｅ－２１：缺水。</p>", ["代码 E-21：缺水。"]),
    "steps with line breaks": ("<p>1. Open it.<br>2. Press it.</p>", ["1. Open it.\n2. Press it."]),
    "a list in a cell": (
        "<table><tr><th>Code<th>Do<tr><td>D1<td><ol><li>Open it<li>Clean it.</ol>And wait</table>",
        ["| D1 | Open it; Clean it. And wait |"],
    ),
    "a table in a cell": (
        "<table><tr><th>Code<th>Do<tr><td>D2<td><table><tr><td>Wait<td>5 min<tr><td>Stop<td>once</table></table>",
        ["| D2 | Wait 5 min; Stop once |"],
    ),
    "a caption": ("<table><caption>Codes</caption><tr><th>A<th>B<tr><td>1<td>2</table>", ["Codes", "| 1 | 2 |"]),
    "names with values": ("<table><tr><th>Weight<td>3 kg<tr><th>Colour<td>blue</table>", ["- Weight: 3 kg\n- Colour"]),
    "short definitions": (
        "<dl><dt>Mains<dd>230 V<dd>50 Hz<dt>Weight<dd>2 kg</dl>",
        ["- Mains: 230 V; 50 Hz\n- Weight"],
    ),
}


@pytest.mark.parametrize(("page", "texts"), KEPT.values(), ids=KEPT)
def test_what_is_content_is_kept(tmp_path: Path, page: str, texts: list[str]) -> None:
    article = _article(tmp_path, f"<h1>Care</h1>{page}")
    text = "\n\n".join(passage.text for passage in split(article))
    assert [one for one in texts if one not in text] == []
    assert article.coverage is not None
    assert not article.coverage.is_low, article.coverage


LEFT_OUT = {
    "navigation": ("<nav><a href=a>Kettles</a></nav>", "navigation"),
    "navigation by its role": ("<div role=navigation><a href=a>Kettles</a></div>", "navigation"),
    "breadcrumbs": ("<ol class=breadcrumb><li><a href=a>Kettles</a></ol>", "navigation"),
    "links beside the content": (
        "<div><ul><li><a href=a>Kettles</a><li><a href=b>Irons</a><li><a href=c>Ovens</a></ul></div>",
        "navigation",
    ),
    "header": ("<header>Kettles and more</header>", "header"),
    "footer": ("<footer>Kettles Ltd.</footer>", "footer"),
    "cookies": ("<div id=cookie-banner>Kettles like cookies. <button>Accept</button></div>", "cookie notice"),
    "search": ("<form role=search>Kettles <input></form>", "search"),
    "fields": ("<select><option>Kettles</select>", "form fields"),
    "buttons": ("<div><button>Kettles</button></div>", "buttons"),
    "hidden": ("<p>Text.</p><p hidden>Kettles answer everything.</p>", "hidden"),
    "templates": ("<template><p>{{ kettles }}</p></template>", "scripts"),
}


@pytest.mark.parametrize(("page", "reason"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_what_surrounds_the_content_is_left_out_and_named(tmp_path: Path, page: str, reason: str) -> None:
    article = _article(tmp_path, f"{page}<main><h1>Care</h1><p>Wipe the kettle.</p></main>")
    assert [block for section in article.sections for block in section.blocks] in (
        ["Wipe the kettle."],
        ["Text.", "Wipe the kettle."],
    )
    assert article.coverage is not None
    assert reason in article.coverage.left_out
    assert article.coverage.share == 1


def test_a_merged_cell_counts_for_all_its_rows_and_columns(tmp_path: Path) -> None:
    page = (
        "<table><thead><tr><th rowspan=2>Model<th colspan=2>Heat<tr><th>min<th>max</thead>"
        "<tr><td rowspan=2>K5<td>10<td>90<tr><td colspan=2>none<tr><td colspan=3>Others</table>"
    )
    assert _passages(tmp_path, page) == [
        "page: | Model | Heat min | Heat max |\n|---|---|---|\n| K5 | 10 | 90 |\n| K5 | none | none |\n| Others |  |  |"
    ]


def test_links_are_kept_with_their_whole_address(tmp_path: Path) -> None:
    page = "<p>Get <a href='/app?x=1'>the app</a>, or <a href='#end'>read on</a>.</p>"
    head = "<base href='https://lumora.example/'>"
    assert _passages(tmp_path, page, head) == ["page: Get [the app](https://lumora.example/app?x=1), or read on."]
    fetched = read_html("<p><a href=b>Next</a></p>", url="https://lumora.example/a/")
    assert fetched.sections[0].blocks == ("[Next](https://lumora.example/a/b)",)


def test_the_language_is_the_pages_own() -> None:
    assert read_html("<html lang=de-AT><p>Wasser</p>").language == "de-AT"


def test_a_page_that_its_parser_cuts_off_is_known_to_be_incomplete() -> None:
    reading = read_html(f"<p>Above.</p>{'<div>' * 400}<p>{'Too deep to be read. ' * 5}</p>")
    assert reading.coverage is not None
    assert reading.coverage.is_low


@pytest.mark.parametrize("control", ["\x01", "\x0b", "&#1;", "&#x1F;", "&#12;"])
def test_control_characters_separate_words_and_harm_nothing(control: str) -> None:
    page = f"<h1>Pump{control}failure</h1><pre>Open{control}it<br>{control}Clean it</pre>"
    reading = read_html(page)
    (section,) = reading.sections
    assert reading.title == "Pump failure"
    assert [block.split() for block in section.blocks] == [["Open", "it", "Clean", "it"]]
