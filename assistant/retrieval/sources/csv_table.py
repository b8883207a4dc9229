"""Tables as spreadsheets write them: any delimiter, with or without a head, in any language."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from assistant.errors import Invalid
from assistant.text.storable import storable

# Names of columns, to ours.
_NAMES = {
    "text": "text body content description details inhalt contenu contenido",
    "answer": """answer answers response solution reply a antwort antworten réponse reponse respuesta risposta
        resposta antwoord svar odpowiedź odpověď cevap yanıt válasz vastaus ответ відповідь απάντηση 答案 回答 解答
        答え 답변 الجواب الإجابة תשובה คำตอบ""",
    "question": """question questions q faq frage fragen pregunta domanda pergunta vraag fråga spørgsmål spørsmål
        pytanie otázka soru kérdés kysymys вопрос питання ερώτηση 问题 問題 質問 질문 السؤال שאלה คำถาม""",
    "title": "title name subject heading titel titre título titolo",
    "id": "id key sku",
    "code": "code error_code",
    "url": "url link",
    "language": "language lang locale sprache langue idioma",
    "product": "product produkt produit producto",
    "visibility": "visibility",
    "inbox": "inbox",
}
_COLUMNS = {name: ours for ours, names in _NAMES.items() for name in names.split()} | {"error code": "code"}
_DELIMITERS = ",;\t|"
_DECLARED = re.compile(r'\A"?sep=(.)"?[ \t]*\n', re.IGNORECASE)
# How Excel keeps leading zeros: ="0042".
_FORMULA = re.compile(r'\A="(.*)"\Z', re.DOTALL)
_QUESTION = re.compile(r"[?？؟;]\s*\Z")
_NUMBER = re.compile(r"[\d.,%€$£ +-]+")
_MOST_CELL = 1_000_000
_LOOKED_AT = 50
_LONGEST_NAME = 60


@dataclass(frozen=True)
class CsvTable:
    """``above``: lines over the table. ``head``: the names of the columns as written; empty if it has none.
    ``columns``: what each is to us, "" for all others. ``rows``: each with its line number."""

    above: tuple[str, ...]
    head: tuple[str, ...]
    columns: tuple[str, ...]
    rows: Iterator[tuple[int, list[str]]]

    @property
    def has_answers(self) -> bool:
        return bool({"text", "answer"} & set(self.columns))


def read_table(text: str) -> CsvTable:
    """Raises `Invalid` if there is nothing in it."""
    declared = _DECLARED.match(text)
    start = declared.end() if declared is not None else 0
    rows = _rows(text[start:], declared.group(1) if declared is not None else _delimiter(text), first=1 + (start > 0))
    looked_at = [(line, cells) for line, cells in islice(rows, _LOOKED_AT) if any(cells)]
    if not looked_at:
        raise Invalid("has no text")
    width = max(len(cells) for _, cells in looked_at)
    above: list[str] = []
    while len(looked_at) > 1 and width > 1 and sum(map(bool, looked_at[0][1])) == 1 and len(above) < 3:
        above.append(next(filter(None, looked_at.pop(0)[1])))
    has_head = _is_head(looked_at)
    head = tuple(looked_at.pop(0)[1]) if has_head else ()
    columns = _columns(head, [cells for _, cells in looked_at], len(head) or width)

    def body() -> Iterator[tuple[int, list[str]]]:
        yield from looked_at
        yield from ((line, cells) for line, cells in rows if any(cells))

    return CsvTable(tuple(above), head, columns, body())


def _rows(text: str, delimiter: str, *, first: int) -> Iterator[tuple[int, list[str]]]:
    """Line number and cells of each row."""
    csv.field_size_limit(_MOST_CELL)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for cells in reader:
            yield reader.line_num + first - 1, [storable(_FORMULA.sub(r"\1", cell).strip()) for cell in cells]
    except csv.Error as error:
        raise Invalid(f"is not a valid table at line {reader.line_num + first - 1}: {error}") from error


def _delimiter(text: str) -> str:
    """The one by which most of the first rows have as many cells as most others, and the most cells."""

    def fit(delimiter: str) -> tuple[int, int]:
        try:
            rows = islice(csv.reader(io.StringIO(text[:200_000]), delimiter=delimiter), _LOOKED_AT)
            counts = [len(cells) for cells in rows if any(cells)]
        except csv.Error:
            return 0, 0
        usual = max(set(counts), key=counts.count, default=1)
        return (counts.count(usual), usual) if usual > 1 else (0, 0)

    return max(_DELIMITERS, key=fit)


def _is_head(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Whether the first row names the columns: by a name we know, else by being short where others are long."""
    first, others = rows[0][1], [cells for _, cells in rows[1:]]
    if {_COLUMNS.get(cell.casefold()) for cell in first} & {"text", "answer", "question", "title", "code"}:
        return True
    if not others or any(
        _QUESTION.search(cell) or _NUMBER.fullmatch(cell) or len(cell) > _LONGEST_NAME for cell in first
    ):
        return False
    return len(set(first)) == len(first) and all(first)


def _columns(head: tuple[str, ...], rows: Sequence[list[str]], width: int) -> tuple[str, ...]:
    """By their names. Without names for questions and answers, by what the cells look like."""
    names = [name.casefold() for name in head]
    # A lone "A" is the first of any columns.
    known = {name: ours for name, ours in _COLUMNS.items() if len(name) > 1 or {"q", "a"} <= set(names)}
    columns = [known.get(name, "") for name in names] + [""] * (width - len(head))
    if {"text", "answer"} & set(columns):
        return tuple(columns)
    cells = [[row[at] if at < len(row) else "" for row in rows] for at in range(width)]
    asking = [sum(_QUESTION.search(cell) is not None for cell in column) for column in cells]
    question = columns.index("question") if "question" in columns else max(range(width), key=asking.__getitem__)
    if rows and width > 1 and ("question" in columns or asking[question] > len(rows) / 2):
        free = [at for at in range(width) if at != question and not columns[at]]
        if free:
            columns[question] = "question"
            columns[max(free, key=lambda at: sum(map(len, cells[at])))] = "answer"
    return tuple(columns)
