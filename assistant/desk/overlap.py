"""Which categories are hard to tell apart: by what describes them, and by what agents decided."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from assistant.desk.learning import DECIDED
from assistant.models import TriageField, TriageResult
from assistant.ports import Embedder
from assistant.skills import priors
from assistant.skills.priors import Left
from assistant.skills.taxonomy import Label


@dataclass(frozen=True)
class Mistaken:
    """How often what belongs to ``key`` is taken for ``other``.

    ``by_words``: the mean probability of ``other`` for the descriptions and examples of ``key``, each triaged by all
    the rest; None: there is one alone. ``sentences``: those of them that would be taken for it, the likeliest first.
    ``decided``: tickets that agents say are of ``key``, ``proposed``: of those, how many triage had proposed as
    ``other``."""

    key: str
    other: str
    by_words: float | None
    sentences: Sequence[tuple[str, float]]
    decided: int
    proposed: int

    @property
    def by_agents(self) -> float | None:
        return self.proposed / self.decided if self.decided else None

    @property
    def weight(self) -> float:
        """Of the two, the greater: agents' counts as if two tickets more had been told apart."""
        return max(self.by_words or 0.0, self.proposed / (self.decided + 2))


def overlap(session: Session, categories: Sequence[Label], embedder: Embedder) -> list[Mistaken]:
    """Every category with every other, the hardest to tell apart first."""
    by_option: dict[str, list[Left]] = {label.key: [] for label in categories}
    for one in priors.left_out(categories, embedder):
        by_option[one.key].append(one)
    decided = _decided(session)
    of_all = Counter[str]()
    for (key, _), count in decided.items():
        of_all[key] += count
    found = [
        Mistaken(
            key,
            other,
            sum(one.shares[other] for one in by_option[key]) / len(by_option[key]) if by_option[key] else None,
            sorted(
                ((one.text, one.shares[other]) for one in by_option[key] if one.taken_for == other),
                key=lambda pair: -pair[1],
            ),
            of_all[key],
            decided[key, other],
        )
        for key, other in permutations(by_option, 2)
    ]
    return sorted(found, key=lambda one: -one.weight)


def _decided(session: Session) -> Counter[tuple[str, str]]:
    """(what agents say, what triage had proposed): how many tickets."""
    says = func.coalesce(TriageField.corrected_value, TriageField.value)
    query = (
        select(says, TriageField.value, func.count(TriageResult.ticket_id.distinct()))
        .join(TriageField.result)
        .where(TriageField.name == "category", TriageField.state.in_(DECIDED), TriageResult.outdated.is_(False))
        .group_by(says, TriageField.value)
    )
    return Counter({(says, proposed): count for says, proposed, count in session.execute(query)})
