"""Mail in a message: which lines its sender wrote now, and which are quoted mail, signature or disclaimer.

Quotations are told by their form: marks at the line's start, a line that names a time and a sender and ends with a
colon, a block of header lines, a labelled rule. Only what mail programs and custom put in fixed words is a list of
words: labels of senders, "forwarded", "sent from", closing formulas, and the notions of a disclaimer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

_UNSEEN = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]")
_MARKED = re.compile(r"\s*[>\uff1e]")
_MARKS = re.compile(r"^[ \t]*(?:[>\uff1e][ \t]?)+", re.MULTILINE)
_ADDRESS = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}\.[\w.-]+")
_CLOCK = re.compile(r"\b\d{1,2}\s?[:h時点\uff1a]\s?\d{2}(?!\d)|\bkl\.?\s\d{1,2}\.\d{2}\b")
_DATE = re.compile(r"\b(?:\d{4}|\d{1,2}[./-]\d{1,2}[./-]\d{2})(?!\d)|\d{4}年")
_COLON = (":", "\uff1a")
_LONGEST_ATTRIBUTION, _MOST_WRAPPED = 200, 3
_LONGEST_RULE, _MOST_HEADERS = 120, 12
_RULE = re.compile(r"\s{0,20}[-_=*]{3,}\s{0,20}(?P<label>[^-_=*\s][^_=*]{0,100}?)?\s{0,20}[-_=*]*+\s{0,20}$")
_HEADER = re.compile(r"[\s>*]*(?P<label>[^\W\d_][^\d:\uff1a@<>]{0,24}?)\s?\*?[:\uff1a]\*?\s*(?P<value>\S.*)")
_FROM = re.compile(
    r"from|von|de|da|van|od|kimden|gönderen|差出人|送信者|发件人|寄件者|發件人|من|от|от кого|від|från|fra"
    r"|lähettäjä|feladó|보낸 ?사람|expediteur|expéditeur|remetente|mittente|nadawca|odesílatel|από|מאת|de la|प्रेषक",
    re.IGNORECASE,
)
_FORWARDED = re.compile(
    r"forward|weitergeleitet|transf[eé]r|réexpédi|reenvia|inoltr|encaminha|doorgestuurd|przekazan|przesłan|iletil[ae]n"
    r"|iletilmiş|転送|转发|轉寄|轉發|محول|توجيه|пересыл|пересланн|vidarebeford|videresend|vieresend|edelleenläh"
    r"|přeposlan|továbbított|전달",
    re.IGNORECASE,
)
_FORWARD_SUBJECT = re.compile(r"(?:fwd?|wg|tr|rv|enc|pd|i|ilt|vb|転送|转发|轉寄)\s?[:\uff1a]", re.IGNORECASE)
_DEVICE = re.compile(
    r"iphone|ipad|android|samsung|galaxy|huawei|xiaomi|outlook|gmail|yahoo|\bgmx\b|web\.de|proton|blackberry|thunderbird"
    r"|smartphone|\bhandy\b|\bmobile?\b|\bmobil|windows|téléphone|teléfono|telefon|telemóvel|celular|携帯|スマ|手机|手機|هاتف",
    re.IGNORECASE,
)
_SENT = re.compile(
    r"\bsent\b|^get\b|gesendet|verschickt|geschickt|herunter|^hol|envoy|télécharg|obt[eé]n|enviad|inviat|scarica|ottieni"
    r"|verzonden|verstuurd|download|wysłan|pobierz|gönderil|edinin|indir|送信|入手|から|发自|發自|傳送|获取|取得|来自"
    r"|[أا]ُ?رسل|الحصول|отправлен|skicka|sendt|odeslán|lähetetty|küldve|trimis|보냄|보냈|στάλθηκε|נשלח|भेजा",
    re.IGNORECASE,
)
_THANKS = (
    r"(?:(?:many|very many)\s+)?thanks|thank you|(?:vielen\s+|besten\s+|herzlichen\s+)?dank|danke|merci"
    r"|(?:muchas\s+)?gracias|grazie(?:\s+mille)?"
    r"|(?:muito\s+)?obrigad[oa]|(?:alvast\s+)?bedankt|dank u(?: wel)?|(?:z góry\s+)?dziękuj[eę]|teşekkür(?:ler| ederim)"
    r"|(?:どうも)?ありがとうございま(?:す|した)|[谢謝]{2}|多谢|شكرا(?:\s+جزيلا)?|спасибо|tack|tak|díky|děkuji|감사합니다"
)
_REGARDS = (
    r"(?:with\s+)?(?:(?:my|our|many|the|best|kind|warm|kindest|warmest)\s+)*(?:regards|wishes)|(?:all the\s+)?best"
    r"|(?:yours\s+)?(?:sincerely|faithfully|truly)(?:\s+yours)?|cheers"
    r"|(?:mit\s+)?(?:(?:freundlich|best|lieb|viel|herzlich|schön)e?[nr]?\s+)+gr(?:ü|ue)(?:ß|ss)en?"
    r"|gr(?:uß|uss|üße|uesse|üsse)|mfg|mvg|lg|vg|hochachtungsvoll"
    r"|(?:bien\s+)?cordialement|bien à vous|(?:sincères |meilleures )?salutations"
    r"|(?:un\s+|muchos\s+)?(?:cordial(?:es)?\s+)?saludos?(?:\s+cordiale?s?)?|(?:muy\s+)?atentamente|cordialmente"
    r"|(?:cordiali|distinti|tanti)\s+saluti|(?:un\s+)?cordiale\s+saluto|saluti|(?:com\s+os\s+melhores\s+)?cumprimentos|atenciosamente|abraços?"
    r"|(?:met\s+)?(?:vriendelijke\s+|hartelijke\s+)?groet(?:en|jes)?|z\s+(?:poważaniem|wyrazami szacunku)"
    r"|(?:serdecznie\s+)?pozdrawiamy?|pozdrowienia|saygılar(?:ımla|ımızla)?|iyi (?:günler|çalışmalar)(?: dilerim)?"
    r"|(?:何卒)?(?:宜|よろ)しくお願い(?:いた|致|申し上げ)?し?ます|敬具|以上|此致|敬礼|顺祝商祺|祝好"
    r"|(?:مع\s+)?(?:أطيب\s+|خالص\s+)?(?:ال)?تحيات?ي?|وتفضلوا بقبول فائق الاحترام"
    r"|с уважением|med vänlig(?:a)? hälsning(?:ar)?|(?:med )?venlig hilsen|mvh|s pozdravem|ystävällisin terveisin"
    r"|üdvözlettel|cu stimă|드림"
)
_FORMULA = rf"(?:{_REGARDS}|{_THANKS})(?!\w)"
_GLUE = r"[\s,、.!！&。،]*+(?:(?:and|und|et|y|e|en|i|ve|in advance|im voraus|d'avance)\s)?\s*+"
# Closing formulas, then at most a name or a greeting's origin.
_CLOSING = re.compile(
    rf"(?:{_FORMULA}{_GLUE})+(?:in advance|im voraus|d'avance)?[\s,.!]*+(?:[^\W\d_][\w.'-]*+[\s,.]*+){{0,3}}",
    re.IGNORECASE,
)
_MERE_THANKS = re.compile(rf"(?:(?:{_THANKS})(?!\w)[\s,、.!！&。،]*)+", re.IGNORECASE)
# What disclaimers, and requests not to print, speak of in every language: three of these make a paragraph one.
_CONFIDENTIAL = (
    r"confiden|vertraulich|privileged|riservat|vertrouwelijk|poufn|gizli|機密|秘密|保密|机密|سري|конфиденц|fortrolig|důvěrn",
    r"addressee|intended|recipient|adressat|empfänger|destinat|geadresseerde|ontvanger|adresat|odbiorc|alıcı|宛先|受信者|收件人"
    r"|المرسل إليه|адресат|получател|mottagar|modtager|příjemc",
    r"\berror\b|mistake|irrtümlich|\bversehen|nicht der richtige|erreur|errore|engano|por erro|vergissing|abusievelijk"
    r"|pomyłk|omyłk|yanlış|誤|误|بالخطأ|ошибк|misstag|fejl|omyl",
    r"delet|destroy|vernicht|lösch|supprim|détrui|elim|destru|cancell|distrugg|apag|verwijder|vernietig|usun|sil(?:in|me)|imha"
    r"|削除|破棄|删除|刪除|حذف|удал|radera|slet|smaž",
)
_PAPER = (
    r"print|ausdruck|druck|imprim|stamp|druk|yazdır|印刷|打印|طباع",
    r"environment|umwelt|environnement|ambiente|milieu|środowisk|çevre|環境|环境|البيئة",
    r"mail|courriel|message|mensaje|mensagem|messaggio|wiadomo|ileti|メール|邮件|رسالة",
)
_DISCLAIMERS = tuple(
    tuple(re.compile(words, re.IGNORECASE) for words in notions) for notions in (_CONFIDENTIAL, _PAPER)
)
_CONTACT = re.compile(r"(?:\+|\b0)\d[\d ()/.-]{6,}\d|\bwww\.|https?://|@[\w-]+\.\w")
# A full stop after a few words belongs to "Ltd." or "tel.".
_SENTENCE_END = re.compile(r"[!?:;。！？：؟]\s{0,9}$|(?:\w{1,30}\W{1,5}){5}\w{1,30}\.\s{0,9}$")
_SHORT_LINE, _LONGEST_FOOTER, _MOST_SIGNATURE_LINES = 60, 90, 8


@dataclass(frozen=True)
class Part:
    """A run of a message's lines. ``own``: written now, by the sender."""

    text: str
    own: bool


def parts_of(text: str) -> tuple[Part, ...]:
    """The message cut where the sender's new words begin and end; joined, the parts give the text.

    One own part if nothing is set apart, or if nothing would be left.
    """
    whole = text.splitlines(keepends=True)
    lines = [_UNSEEN.sub("", line) for line in whole]
    own = _unquoted(lines)
    for start, end in list(_runs(own)):
        for number in range(_end_of_words(lines, start, end), end):
            own[number] = False
    if all(own) or not any(line.strip() for line, is_own in zip(lines, own, strict=True) if is_own):
        return (Part(text, True),)
    for number in range(1, len(lines)):  # blank lines belong to what stands before them
        own[number] = own[number] if lines[number].strip() else own[number - 1]
    cut = groupby(zip(whole, own, strict=True), key=lambda pair: pair[1])
    return tuple(Part("".join(line for line, _ in group), is_own) for is_own, group in cut)


def own_words(text: str) -> str:
    """What the sender wrote now, without marks of quotation; all of the text if nothing is set apart."""
    parts = parts_of(text)
    if len(parts) == 1:
        return text.strip()
    return "\n\n".join(_MARKS.sub("", part.text).strip() for part in parts if part.own and part.text.strip())


def _unquoted(lines: list[str]) -> list[bool]:
    """For each line, whether it is neither marked as quoted nor part of a quoted mail."""
    own = [True] * len(lines)
    marked = sum(_MARKED.match(line) is not None for line in lines)
    is_mail = False
    number = 0
    while number < len(lines):
        if _MARKED.match(lines[number]):
            end = next((n for n in range(number, len(lines)) if not _MARKED.match(lines[n])), len(lines))
            if is_mail or marked > 1 or _is_sentence(lines[number]):
                own[number:end] = [False] * (end - number)
            number = end
            continue
        after = _head_of_mail(lines, number)
        if after is None:
            number += 1
            continue
        own[number:after] = [False] * (after - number)
        if _is_forwarded("".join(lines[number:after])):
            return own  # what was forwarded is what the sender wants to say
        if not _MARKED.match(next((line for line in lines[after:] if line.strip()), "")):
            own[number:] = [False] * (len(lines) - number)
            return own
        is_mail, number = True, after
    return own


def _is_sentence(marked: str) -> bool:
    """Whether the only marked line is quoted: a short one may be a code or a prompt that somebody sets off."""
    text = _MARKS.sub("", marked)
    return len(text.split()) >= 4 or len(re.findall(r"[\u3040-\u9fff]", text)) >= 6


def _head_of_mail(lines: list[str], start: int) -> int | None:
    """The line after the head of a quoted or forwarded mail that begins here: rule, headers, attribution; else None."""
    if not lines[start].strip():
        return None
    after = start
    rule = _RULE.fullmatch(lines[start].rstrip()[:_LONGEST_RULE])
    if rule is not None or (_is_forwarded(lines[start]) and lines[start].rstrip().endswith(_COLON)):
        after = next((n for n in range(start + 1, len(lines)) if lines[n].strip()), len(lines))
    headers = _end_of_headers(lines, after)
    if headers is not None:
        return headers
    if rule is not None and rule["label"] and lines[start].rstrip().endswith("-"):
        return start + 1 if len(rule["label"].split()) <= 4 else None
    return _end_of_attribution(lines, start)


def _end_of_headers(lines: list[str], start: int) -> int | None:
    """The line after a block of at least three headers, one of which names the sender."""
    headers: list[re.Match[str]] = []
    for line in lines[start : start + _MOST_HEADERS]:
        header = _HEADER.fullmatch(line.rstrip())
        if header is None and not (headers and line[:1] in " \t" and line.strip()):  # nor the rest of a long header
            break
        headers.append(header or headers[-1])
    told = any(_ADDRESS.search(header["value"]) or _CLOCK.search(header["value"]) for header in headers)
    named = any(_FROM.fullmatch(header["label"].strip()) for header in headers)
    return start + len(headers) if named and told and len(set(headers)) >= 3 else None


def _end_of_attribution(lines: list[str], start: int) -> int | None:
    """The line after "On ... wrote:", in any language: a date or time and a sender, up to a colon, before the mail."""
    if start and lines[start - 1].strip() and not _MARKED.match(lines[start - 1]):
        return None
    text = ""
    for number in range(start, min(start + _MOST_WRAPPED, len(lines))):
        text += lines[number]
        if not lines[number].strip() or len(text) > _LONGEST_ATTRIBUTION:
            return None
        if not text.rstrip().endswith(_COLON):
            continue
        below = lines[number + 1 :]
        is_quoted = bool(_MARKED.match(next((line for line in below if line.strip()), "")))
        dated, timed = _DATE.search(text) is not None, _CLOCK.search(text) is not None
        addressed = re.search(rf"[<(]\s*(?:mailto:)?{_ADDRESS.pattern}", text) is not None
        apart = not below or not below[0].strip()
        told = (dated and timed and apart) or ((dated or timed) and (is_quoted or addressed))
        return number + 1 if told else None
    return None


def _is_forwarded(head: str) -> bool:
    first, *others = head.splitlines()
    if _FORWARDED.search(first):
        return True
    headers = (_HEADER.fullmatch(line.rstrip()) for line in others)
    return any(_FORWARD_SUBJECT.match(header["value"]) for header in headers if header is not None)


def _runs(own: list[bool]) -> Iterator[tuple[int, int]]:
    """(start, end) of every run of own lines."""
    number = 0
    for is_own, group in groupby(own):
        length = len(list(group))
        if is_own:
            yield number, number + length
        number += length


def _end_of_words(lines: list[str], start: int, end: int) -> int:
    """Where signature and disclaimer begin at the end of a run of own lines; ``end`` if there are none."""
    for number in range(start, end):
        if lines[number].strip() == "--" and end - number <= 2 * _MOST_SIGNATURE_LINES:
            end = number
            break
    while True:
        while end > start and not lines[end - 1].strip():
            end -= 1
        paragraph = next((n + 1 for n in range(end - 1, start - 1, -1) if not lines[n].strip()), start)
        closing = _closing(lines, start, end)
        if closing is not None:
            end = closing
        elif _is_disclaimer(lines[paragraph:end]) or (paragraph > start and _is_footer(lines, paragraph, end, start)):
            end = paragraph
        else:
            return end


def _closing(lines: list[str], start: int, end: int) -> int | None:
    """The line of a closing formula with nothing but short lines (name, company, address) after it."""
    for number in range(max(start, end - _MOST_SIGNATURE_LINES), end):
        words = lines[number].strip()
        if len(words) > _SHORT_LINE or _CLOSING.fullmatch(words) is None:
            continue
        if number + 1 == end and _MERE_THANKS.fullmatch(words) is not None:
            continue  # without a name it is said, not signed
        if all(len(line.strip()) <= _SHORT_LINE and not _SENTENCE_END.search(line) for line in lines[number + 1 : end]):
            return number
    return None


def _is_footer(lines: list[str], start: int, end: int, first: int) -> bool:
    """Whether the last paragraph is a phone's "sent from", or a card with a way of contact."""
    card = [line.strip() for line in lines[start:end]]
    if len(card) == 1:
        return (
            len(card[0]) <= _LONGEST_FOOTER
            and bool(_DEVICE.search(card[0]) and _SENT.search(card[0]))
            and "?" not in card[0]
        )
    before = next((lines[n] for n in range(start - 1, first - 1, -1) if lines[n].strip()), "")
    short = all(len(line) <= _SHORT_LINE and not _SENTENCE_END.search(line) for line in card)
    return short and bool(_CONTACT.search("\n".join(card))) and not before.rstrip().endswith(_COLON)


def _is_disclaimer(paragraph: list[str]) -> bool:
    text = " ".join(paragraph)
    return any(sum(notion.search(text) is not None for notion in notions) >= 3 for notions in _DISCLAIMERS)
