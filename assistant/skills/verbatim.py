"""What may be said only in the very words of a passage: addresses, what commits the company, and what asks for secrets.

Most of a sentence may be worded anew. A link, an offer or a password may not: one such word among many that a passage
has would carry whatever somebody had a model say. The list of words is short and makes nothing sayable: it only asks
more of the sentences that have one.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from assistant.text.folding import fold

# Beginnings of words, folded, in the languages of the catalogue whose words stand apart.
_BINDING = tuple(
    fold(
        # money
        "refund reimburs rebate discount coupon voucher compensat goodwill giveaway gift prize bonus free gratis waive "
        "erstatt rückerstatt rabatt gutsch entschädig kostenlos kostenfrei umsonst geschenk kulanz "
        "rembours remise rabais gratuit dédommag cadeau reembols descuent cupón compensac regalo indemniz "
        "rimbors sconto buono risarc omaggio descont cupom indeniz brinde grátis terugbetal korting tegoedbon vergoed "
        "zwrot rabat zniżk kupon bezpłat darmow rekompens iade indirim ücretsiz bedava tazminat hediye "
        "استرداد خصم قسيمة مجان تعويض هدية "
        # commitment
        "promis guarantee grant approv entitl liab lawsuit lawyer versprech garanti genehmig zugesag haft "
        "promet prometo prometemos approuv aprob aprov promett approv beloof goedgekeur obiecu zatwierdz "
        # secrets and payment
        "password passwort kennwort passcode credential login iban cvv cvc bitcoin crypto prepaid "
        "contraseñ senha wachtwoord hasło şifre parola "
        # who speaks
        "human supervisor employee colleague mitarbeiter kolleg employé humain empleado dipendente funcionári "
        "medewerker pracownik insan"
    ).split()
)
_WORD = re.compile(r"[^\W\d_]+")
_PIECE = re.compile(r"[\w.:/@?#&=%+~-]+")
_SCHEME = re.compile(r"(?:javascript|data|mailto|tel|sms|ftp|https?):|www\.", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w-]+\.)+[^\W\d_]{2,24}(?:[/:?#].*)?", re.DOTALL)
_MARKUP = re.compile(r"!\[|\]\(|<[a-z!/]", re.IGNORECASE)


@lru_cache(maxsize=512)
def addresses(text: str) -> frozenset[str]:
    """The links, mailboxes and names of hosts in a text, in small letters, without the punctuation around them."""
    pieces = (piece.strip(".:/?#-") for piece in _PIECE.findall(unicodedata.normalize("NFKC", text)))
    return frozenset(
        piece.lower() for piece in pieces if "@" in piece or _SCHEME.match(piece) or _HOST.fullmatch(piece)
    )


def holds(claim: str, passage: str) -> bool:
    """Whether everything in the claim that must stand in the passage word for word does; signs of links, pictures and
    tags, too."""
    if not set(_MARKUP.findall(claim)) <= set(_MARKUP.findall(passage)):
        return False
    return addresses(claim) <= addresses(passage) and binding(claim) <= binding(passage)


@lru_cache(maxsize=512)
def binding(text: str) -> frozenset[str]:
    """Which of the binding words a text has, by their beginnings."""
    found = [word for word in set(_WORD.findall(fold(text))) if word.startswith(_BINDING)]
    return frozenset(start for word in found for start in _BINDING if word.startswith(start))
