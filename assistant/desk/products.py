"""The operator's own products: learned from photos in versions, tried before they serve, and taken back.

A version names its photos and holds what was fitted to them; the photos' bytes are in storage, what features say of
them in their rows. It is tried on its own photos, each left out in turn, beside the version that serves; if that one
knows the same photos better, by more than chance explains, the new one waits.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta

import numpy as np
from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session, defer, selectinload

from assistant import payloads, sample
from assistant.db import new_public_id, utcnow
from assistant.desk import queue
from assistant.desk.desk import Desk
from assistant.errors import Conflict, Invalid, NotFound, NotReady
from assistant.media.files import Upload, safe_filename
from assistant.media.photo import Photo, normalise
from assistant.models import (
    Article,
    Attachment,
    Evidence,
    EvidenceState,
    Figure,
    HeadState,
    ProductHead,
    ProductHeadPhoto,
    ProductPhoto,
    Visibility,
)
from assistant.ports import Capabilities, PhotoFeatures, WorkPriority
from assistant.progress import Progress, no_progress
from assistant.skills.calibration import calibration_error, reliability
from assistant.skills.own_products import (
    CROPS,
    DAMAGE,
    INTACT,
    KINDS,
    LIGHT,
    Catalogue,
    OwnProducts,
    Recogniser,
    Reference,
    Views,
    Weights,
    conditions_of,
    glow_of,
    kind_of,
    learn,
    look_at,
    text_of,
)
from assistant.skills.read_photo import CANNOT_TELL, DIFFERENT, confident_lines
from assistant.skills.taxonomy import Taxonomy
from assistant.text.folding import fold

LEARN = "learn_products"  # the job that learns from photos that were handed in
WAITS = b""  # views of a photo that has not been looked at
_WAITS_AT_MOST = timedelta(days=1)
_KEPT = 5  # newest versions, beside what serves
_MOST_PHOTOS = 5000
_MOST_CORRECTED = 500
_WORD = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class NewPhoto:
    """A photo of the product with this key, and the ``condition`` that it shows, if any, with its kind (by default what
    the condition's words say). ``sha256``: of bytes that are stored, normalised, instead of an upload's;
    ``is_customers``: whether a customer sent it."""

    product: str
    upload: Upload
    condition: str = ""
    kind: str = ""
    sha256: str = ""
    is_customers: bool = False

    def __post_init__(self) -> None:
        if self.kind and self.kind not in KINDS:
            raise Invalid(f"{self.kind!r} is no kind of condition. Choose from: {', '.join(KINDS)}.", field="kind")

    @property
    def state(self) -> tuple[str, str]:
        """Condition and kind as they are stored: small letters, single blanks."""
        condition = " ".join(self.condition.replace("_", " ").casefold().split())[:60]
        return condition, (self.kind or kind_of(condition)) if condition else ""


def learn_products(
    desk: Desk, photos: Sequence[NewPhoto], names: Mapping[str, str], *, afresh: bool = False,
    progress: Progress = no_progress,
) -> payloads.ProductVersion:  # fmt: skip
    """Fit a version to these photos and, unless ``afresh``, to those of the version that serves.

    ``names`` of products by their keys; those of the taxonomy's file keep the names that they have there. Raises
    `Invalid` without photos, `NotReady` without features, and what `normalise` raises for a file that is no photo."""
    features = _features(desk)
    looked_at = []
    for done, photo in enumerate(photos, start=1):
        looked_at.append(_look(desk, features, photo))
        progress(done, len(photos), "Looking at photos")
    while True:
        version = _learn(desk, features, looked_at, names, afresh=afresh, progress=progress)
        if version is not None:
            desk.taxonomies.refresh()
            return version


def _learn(
    desk: Desk, features: PhotoFeatures, new: Sequence[ProductPhoto], names: Mapping[str, str], *, afresh: bool,
    progress: Progress,
) -> payloads.ProductVersion | None:  # fmt: skip
    """None if another version has come to serve meanwhile: its photos would be left out."""
    with desk.db.read() as session:
        serving = _serving(session)
        based_on = serving.id if serving is not None else None
        kept = [] if serving is None or afresh or serving.features != features.name else list(serving.photos)
        known_names = {} if serving is None or afresh else serving.names
        is_comparable = serving is not None and serving.features == features.name and serving.photos
        before = _parsed(desk, serving) if serving is not None and is_comparable else None
    rows = {(row.product, row.sha256): row for row in kept}
    for row in new:
        at = (row.product, row.sha256)
        if row.condition or at not in rows or not rows[at].condition:  # what is known of its condition stays
            rows[at] = row
    if not rows or len(rows) > _MOST_PHOTOS:
        raise Invalid(f"There are {len(rows)} photos. Give between 1 and {_MOST_PHOTOS}.")
    products = dict.fromkeys(sorted({row.product for row in rows.values()}))
    all_names = {key: _names(desk, key, names, known_names) for key in products}
    catalogue = _catalogue(list(rows.values()), all_names)
    recogniser = learn(
        catalogue, features, photo_of=lambda one: desk.storage.get(one.sha256), others=_others(desk), progress=progress
    )
    trial = _try(recogniser, before)
    with desk.db.begin() as session:
        now = _serving(session)
        if (now.id if now is not None else None) != based_on:
            return None
        head = ProductHead(
            features=features.name,
            names={key: list(own) for key, own in all_names.items()},
            weights=recogniser.weights.to_json(),
            state=HeadState.WAITING,
            trial=trial.model_dump(),
            photos=[session.merge(row) for row in rows.values()],
        )
        session.add(head)
        session.flush()
        if not trial.worse:
            _serve(session, head)
        _forget(session)
        return payloads.ProductVersion.of(head)


def hand_in(
    session: Session, desk: Desk, product: str, name: str, uploads: Sequence[Upload], *, condition: str = ""
) -> int:
    """Store photos of a product, which a job then learns from. Returns how many.

    ``product``: its key; empty: that of the ``name``. ``condition``: what all of them show, if anything. Raises
    `Invalid` without name or photos, `NotReady` without features, and what `normalise` raises for a file that is no
    photo: then none is stored."""
    features, key = _features(desk), product or key_of(name, desk.taxonomy)
    if not key:
        raise Invalid("Say which product the photos show.", field="name")
    if not uploads:
        raise Invalid("Choose at least one photo.", field="photos")
    photos = [(upload, normalise(upload, desk.photo_limits)) for upload in uploads]
    for upload, photo in photos:
        if not isinstance(photo, Photo):
            raise Invalid(f"{upload.filename} is not a photo.", field="photos")
    said, kind = NewPhoto(key, uploads[0], condition).state
    rows = [
        ProductPhoto(
            product=key,
            condition=said,
            kind=kind,
            sha256=desk.storage.put(photo.data),
            filename=safe_filename(upload.filename),
            text="" if product else name,
            features=f"{features.name} {new_public_id('new')}",  # twice the same photo may wait
            views=WAITS,
        )
        for upload, photo in photos
    ]
    session.add_all(rows)
    queue.enqueue(session, LEARN, {}, key=LEARN, priority=WorkPriority.BATCH)
    return len(rows)


def conditions(session: Session) -> list[str]:
    """Of own products, those that are told by other than lights."""
    query = select(ProductPhoto.condition).where(ProductPhoto.condition != "", ProductPhoto.kind != LIGHT)
    return list(session.scalars(query.distinct().order_by(ProductPhoto.condition)))


def corrected_photos(session: Session, desk: Desk) -> list[NewPhoto]:
    """Photos whose evidence an agent has corrected, of known products, that are not among the reference photos yet:
    with their condition, or else their lights, if the agent said so. The newest first."""
    query = (
        select(Evidence)
        .where(
            Evidence.state == EvidenceState.CORRECTED,
            Evidence.corrected_by_id.is_not(None),
            select(Attachment.id).where(Attachment.sha256 == Evidence.sha256).exists(),
            ~select(ProductPhoto.id).where(ProductPhoto.sha256 == Evidence.sha256).exists(),
        )
        .order_by(Evidence.id.desc())
        .limit(_MOST_CORRECTED)
    )
    known = {product.key for product in desk.taxonomy.products}
    found: dict[str, NewPhoto] = {}
    for row in session.scalars(query):
        product = row.fields["product"]["value"]
        if product in known and row.sha256 not in found:
            upload = Upload(f"corrected-{row.sha256[:8]}.jpg", None, b"")
            found[row.sha256] = NewPhoto(product, upload, _said_of(row), sha256=row.sha256, is_customers=True)
    return list(found.values())


def _said_of(row: Evidence) -> str:
    """The condition that an agent gave to a photo in place of another one; empty if they left it as it was."""
    before = row.corrects.fields if row.corrects is not None else {}
    for name, words in (("condition", "{}"), ("lights", "light {}")):
        value = row.fields.get(name, {}).get("value", CANNOT_TELL)
        if value not in (CANNOT_TELL, DIFFERENT, before.get(name, {}).get("value")):
            return words.format(value)
    return ""


def article_photos(session: Session, desk: Desk) -> list[NewPhoto]:
    """The pictures of public articles that are about one product."""
    query = (
        select(Figure.sha256, Article.product)
        .join(Figure.article)
        .where(
            Article.product.in_([product.key for product in desk.taxonomy.products]),
            Article.visibility == Visibility.PUBLIC,
        )
        .order_by(Figure.id)
    )
    return [
        NewPhoto(product or "", Upload(f"figure-{sha256[:8]}.jpg", None, b""), sha256=sha256)
        for sha256, product in session.execute(query)
    ]


def hand_in_corrected(session: Session, desk: Desk) -> int:
    """Let a job learn from `corrected_photos`. Returns how many."""
    features, photos = _features(desk), corrected_photos(session, desk)
    for one in photos:
        condition, kind = one.state
        session.add(
            ProductPhoto(
                product=one.product,
                condition=condition,
                kind=kind,
                sha256=one.sha256,
                filename=one.upload.filename,
                text="",
                features=f"{features.name} {new_public_id('new')}",
                views=WAITS,
                is_customers=True,
            )
        )
    if photos:
        queue.enqueue(session, LEARN, {}, key=LEARN, priority=WorkPriority.BATCH)
    return len(photos)


def learn_job(desk: Desk) -> None:
    """The job: learn from all photos that wait. Without any it is a no-op."""
    with desk.db.read() as session:
        rows = session.scalars(select(ProductPhoto).where(ProductPhoto.views == WAITS)).all()
    new = [
        NewPhoto(row.product, Upload(row.filename, None, b""), row.condition, row.kind, row.sha256, row.is_customers)
        for row in rows
    ]
    if new:
        learn_products(desk, new, {row.product: row.text for row in rows if row.text})
        with desk.db.begin() as session:
            session.execute(delete(ProductPhoto).where(ProductPhoto.id.in_([row.id for row in rows])))


def waiting(session: Session) -> int:
    """Photos that were handed in and not learned from yet."""
    return session.scalars(select(func.count(ProductPhoto.id)).where(ProductPhoto.views == WAITS)).one()


def key_of(name: str, taxonomy: Taxonomy) -> str:
    """Of the product that the taxonomy has under this name or key. Of any other: small letters and digits, joined by
    hyphens, or a number where there are none, in another script. Empty for an empty name."""
    if not name.strip():
        return ""
    for product in taxonomy.products:
        if _joined(name) in map(_joined, (product.key, product.name, *product.aliases)):
            return product.key
    return _joined(name)


def _joined(name: str) -> str:
    joined = "-".join(_WORD.findall(fold(name)))[:60]
    return joined or f"product-{hashlib.sha256(fold(name).encode()).hexdigest()[:6]}"


@dataclass(frozen=True)
class Mistaken:
    """A reference photo that, left out, is taken for another product, with that one's probability."""

    filename: str
    sha256: str
    taken_for: str
    probability: float


def mistaken(session: Session, desk: Desk, number: int) -> dict[str, list[Mistaken]]:
    """By product, what the photos of a version are mistaken for: there, more photos help. Only of products that have
    several. Raises `NotFound`, or `Conflict` if it was learned with other features."""
    head = session.get(ProductHead, number)
    if head is None:
        raise NotFound(f"There is no version {number}.")
    if head.features != _features(desk).name:
        raise Conflict("This version was learned with other features of photos than those that are installed now.")
    recogniser = desk.product_versions.get(head.id)
    if recogniser is None or len(recogniser.catalogue.references) != len(head.photos):  # a customer's may have gone
        recogniser = Recogniser(_catalogue(head.photos, head.names), Weights.from_json(head.weights))
    keys, files = recogniser.catalogue.keys, {(row.product, row.sha256): row.filename for row in head.photos}
    found: dict[str, list[Mistaken]] = {}
    for (product, sha256), shares in recogniser.trial().items():
        best = keys[int(shares.argmax())]
        if best != product:
            one = Mistaken(files[product, sha256], sha256, best, float(shares.max()))
            found.setdefault(product, []).append(one)
    return found


def list_versions(session: Session) -> list[payloads.ProductVersion]:
    """The newest first."""
    query = select(ProductHead).options(_WITHOUT_VIEWS).order_by(ProductHead.id.desc())
    return [payloads.ProductVersion.of(head) for head in session.scalars(query)]


def show_version(session: Session, number: int | None = None) -> payloads.ProductVersion:
    """That with the number, or that which serves. Raises `NotFound`."""
    head = _serving(session) if number is None else session.get(ProductHead, number)
    if head is None:
        raise NotFound("No version of the products serves." if number is None else f"There is no version {number}.")
    return payloads.ProductVersion.of(head)


def roll_back(session: Session) -> payloads.ProductVersion | None:
    """Stop serving the version that serves. Returns the one before it, which serves instead; None if there is none."""
    serving = _serving(session)
    if serving is None:
        raise Conflict("No version of the products serves.")
    _move(serving, HeadState.ROLLED_BACK)
    query = select(ProductHead).where(ProductHead.id < serving.id, ProductHead.state == HeadState.REPLACED)
    before = session.scalar(query.order_by(ProductHead.id.desc()).limit(1))
    if before is None:
        return None
    _move(before, HeadState.SERVED)
    return payloads.ProductVersion.of(before)


def promote(session: Session, number: int) -> payloads.ProductVersion:
    """Serve a version, whatever its trial says."""
    head = session.get(ProductHead, number)
    if head is None:
        raise NotFound(f"There is no version {number}.")
    _serve(session, head)
    return payloads.ProductVersion.of(head)


def reading(desk: Desk) -> Capabilities:
    """What photos are read with: what is installed, and the products that were learned."""
    capabilities = desk.capabilities
    if capabilities.photo_features is None:
        return capabilities
    with desk.db.read() as session:
        query = (
            select(ProductHead.id, func.count(ProductHeadPhoto.photo_id))
            .join(ProductHeadPhoto, ProductHeadPhoto.head_id == ProductHead.id)
            .where(ProductHead.state == HeadState.SERVED, ProductHead.features == capabilities.photo_features.name)
            .group_by(ProductHead.id)
        )
        number, photos = session.execute(query).one_or_none() or (None, 0)
        if number is None:  # or all its photos were customers' who are gone
            return capabilities
        known = desk.product_versions.get(number)
        if is_new := known is None or len(known.catalogue.references) != photos:
            _parsed(desk, session.get_one(ProductHead, number))
    if is_new:
        desk.taxonomies.refresh()  # so that tickets are sorted by them from the first photo on
    products = OwnProducts(desk.product_versions[number], capabilities.photo_features, name=f"products-{number}")
    return capabilities.with_products(products)


def reference_photo(desk: Desk, sha256: str) -> bytes:
    """The bytes of a reference photo, a JPEG or PNG. Raises `NotFound`, or `Gone` if they are lost."""
    with desk.db.read() as session:
        known = session.scalar(select(ProductPhoto.id).where(ProductPhoto.sha256 == sha256).limit(1))
    if known is None:
        raise NotFound("There is no such reference photo: no version of the products names it any more.")
    return desk.storage.get(sha256)


def intact_reference(session: Session, product: str, sha256: str) -> str | None:
    """This reference photo of the product, or, if it shows damage, another that is said to be intact; None without, or
    if this is none of that product."""
    of_product = select(ProductPhoto).where(ProductPhoto.product == product)
    own = session.scalars(of_product.where(ProductPhoto.sha256 == sha256)).all()
    if not any(one.kind == DAMAGE and one.condition != INTACT for one in own):
        return sha256 if own else None
    intact = of_product.where(ProductPhoto.kind == DAMAGE, ProductPhoto.condition == INTACT).order_by(ProductPhoto.id)
    return session.scalar(intact.with_only_columns(ProductPhoto.sha256).limit(1))


_WITHOUT_VIEWS = selectinload(ProductHead.photos).options(defer(ProductPhoto.views))


def _features(desk: Desk) -> PhotoFeatures:
    if desk.capabilities.photo_features is None:
        raise NotReady(
            "No features of photos are installed. Run: pip install 'photo-support-assistant[demo]', or set "
            "ASSISTANT_PHOTO_FEATURES."
        )
    return desk.capabilities.photo_features


def _look(desk: Desk, features: PhotoFeatures, new: NewPhoto) -> ProductPhoto:
    """The photo's row, which may be there already. Its bytes are stored before."""
    data = desk.storage.get(new.sha256) if new.sha256 else _normal(desk, new.upload)
    sha256 = new.sha256 or desk.storage.put(data)
    condition, kind = new.state
    with desk.db.read() as session:
        same = (
            ProductPhoto.product == new.product, ProductPhoto.sha256 == sha256,
            ProductPhoto.condition == condition, ProductPhoto.kind == kind,
        )  # fmt: skip
        found = session.scalar(select(ProductPhoto).where(*same, ProductPhoto.features == features.name))
    if found is not None:
        return found
    text = text_of(confident_lines(data, desk.capabilities.ocr))
    views = look_at(data, text, features)
    return ProductPhoto(
        product=new.product,
        sha256=sha256,
        filename=new.upload.filename,
        text=text,
        features=features.name,
        views=views.vectors.astype("<f2").tobytes(),
        condition=condition,
        kind=kind,
        is_customers=new.is_customers,
        glow=[round(one, 4) for one in glow_of(data)] if kind == LIGHT else [],
    )


def _normal(desk: Desk, upload: Upload) -> bytes:
    photo = normalise(upload, desk.photo_limits)
    if not isinstance(photo, Photo):
        raise Invalid(f"{upload.filename} is not a photo.")
    return photo.data


def _names(desk: Desk, key: str, given: Mapping[str, str], known: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    for product in desk.taxonomies.file.products:
        if product.key == key:
            return (product.name, *product.aliases)
    return (given[key],) if key in given else tuple(known.get(key, (key,)))


def _catalogue(rows: Sequence[ProductPhoto], names: Mapping[str, Sequence[str]]) -> Catalogue:
    references = tuple(
        Reference(row.product, row.sha256, Views(_vectors(row), row.text), row.condition, row.kind, tuple(row.glow))
        for row in sorted(rows, key=lambda row: (row.product, row.sha256))
    )
    return Catalogue({key: tuple(own) for key, own in names.items()}, references)


def _vectors(row: ProductPhoto) -> np.ndarray:
    return np.frombuffer(row.views, dtype="<f2").reshape(CROPS, -1)


def _others(desk: Desk) -> list[bytes]:
    """Photos of other things: the sample company's, unless that is whose products are learned."""
    if desk.settings.taxonomy is None:
        return []
    return [file.read_bytes() for file in sorted(sample.photos_dir().iterdir()) if file.suffix in (".jpg", ".png")]


def _parsed(desk: Desk, head: ProductHead) -> Recogniser:
    """Parsed once: a version changes only if customers go whose photos it has."""
    found = desk.product_versions.get(head.id)
    if found is None or len(found.catalogue.references) != len(head.photos):
        found = Recogniser(_catalogue(head.photos, head.names), Weights.from_json(head.weights))
        desk.product_versions.clear()
        desk.product_versions[head.id] = found
    return found


def _try(new: Recogniser, before: Recogniser | None) -> payloads.ProductTrial:
    """On its photos, each left out in turn."""
    mine, related = new.trial(), new.related()
    keys = new.catalogue.keys
    best = np.array([shares.max() for shares in mine.values()])
    right = np.array([keys[shares.argmax()] == product for (product, _), shares in mine.items()], dtype=float)
    return payloads.ProductTrial(
        photos=len(mine),
        accuracy=float(right.mean()) if mine else None,
        calibration_error=calibration_error(reliability(best, right)) if mine else None,
        silent=float(np.mean([not guess.claimed for guess in related])) if related else None,
        worse=before is not None and _is_worse(new, before),
        conditions=tuple(payloads.ConditionTrial(**asdict(one)) for one in conditions_of(new).trials()),
    )


def _is_worse(new: Recogniser, before: Recogniser) -> bool:
    """Whether the photos of both are less likely, by more than chance explains, among the products of both."""
    both = [key for key in new.catalogue.keys if key in before.catalogue.keys]
    mine, theirs = (
        {photo: _share(shares, one.catalogue.keys, photo[0], both) for photo, shares in one.trial().items()}
        for one in (new, before)
    )
    gain = np.array([np.log(mine[photo] / theirs[photo]) for photo in mine if photo in theirs])
    return len(gain) > 0 and bool(gain.mean() < -gain.std() / np.sqrt(len(gain)))


def _share(shares: np.ndarray, keys: Sequence[str], product: str, among: Sequence[str]) -> float:
    """The probability of a product among these, never 0."""
    known = {key: max(float(share), 1e-6) for key, share in zip(keys, shares, strict=True) if key in among}
    return known.get(product, 1e-6) / (sum(known.values()) or 1.0)


def _serving(session: Session) -> ProductHead | None:
    return session.scalar(select(ProductHead).where(ProductHead.state == HeadState.SERVED))


def _serve(session: Session, chosen: ProductHead) -> None:
    for head in session.scalars(select(ProductHead).where(ProductHead.state == HeadState.SERVED)):
        _move(head, HeadState.REPLACED)
    _move(chosen, HeadState.SERVED)
    session.flush()


def _move(head: ProductHead, state: HeadState) -> None:
    head.state, head.state_since = state, utcnow()


def _forget(session: Session) -> None:
    """Old versions, and photos that none names any more."""
    old = select(ProductHead.id).where(ProductHead.state != HeadState.SERVED).order_by(ProductHead.id.desc())
    for number in session.scalars(old.offset(_KEPT)).all():
        session.delete(session.get_one(ProductHead, number))
    session.flush()
    named = select(ProductHeadPhoto.photo_id)
    is_over = or_(ProductPhoto.views != WAITS, ProductPhoto.created_at < utcnow() - _WAITS_AT_MOST)
    session.execute(delete(ProductPhoto).where(ProductPhoto.id.not_in(named), is_over))
