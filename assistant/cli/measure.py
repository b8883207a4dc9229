"""``assistant eval``: quality on labelled data."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from assistant.cli.common import json_option, migrated, progress_bar, read_settings, running

if TYPE_CHECKING:
    from assistant.ports import Capabilities


NO_FEATURES = "No features of photos are installed. Run: pip install 'photo-support-assistant[demo]'"


@click.group("eval")
def evaluate() -> None:
    """Measure quality on labelled data."""


@evaluate.command("triage")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--label", "label_field", default="label", show_default=True, help="Field that holds the label.")
@click.option(
    "--per-class",
    type=click.IntRange(2),
    default=10,
    show_default=True,
    help="Learn from this many tickets per label first, then from all.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the split into training and test tickets.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a reliability diagram (PNG).")
@json_option
def eval_triage(path: Path, label_field: str, per_class: int, seed: int, plot: Path | None, as_json: bool) -> None:
    """Measure the learned triage against the usual classifiers: accuracy, macro-F1, Brier score, calibration.

    PATH is a JSONL file, or a folder of them, with text and label. The label "oos" (out of scope) means no label fits.
    """
    from assistant.engine import install
    from assistant.lab.evaluation.triage import evaluate_triage

    with progress_bar(quiet=as_json) as progress:
        report = evaluate_triage(
            path,
            embedder=install(read_settings()).capabilities.embedder,
            label_field=label_field,
            per_class=per_class,
            seed=seed,
            progress=progress,
        )
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("calibration")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--held-back", type=click.IntRange(20), default=300, show_default=True, help="Tickets of each set to measure on."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write reliability diagrams (PNG).")
@json_option
def eval_calibration(folder: Path, held_back: int, plot: Path | None, as_json: bool) -> None:
    """Measure whether triage is right as often as it says: every field, before any decision and after 300.

    FOLDER holds public sets: tickets_multilang, it_urgency, airline_tweets, bitext_customer, it_tickets, xsid. Those
    that are not there are left out.
    """
    from assistant.engine import install
    from assistant.lab.evaluation import calibration

    with progress_bar(quiet=as_json) as progress:
        capabilities = install(read_settings()).capabilities
        report = calibration.measure(folder, capabilities, held_back=held_back, progress=progress)
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("learning")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option("--label", "label_field", default="label", show_default=True, help="Field that holds the label.")
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Number of random splits.")
@json_option
def eval_learning(path: Path | None, label_field: str, seeds: int, as_json: bool) -> None:
    """Simulate learning: what becomes of every category while agents decide tickets of the everyday ones?

    PATH is a JSONL file, or a folder of them, with text and label; without it, the sample company's tickets. After 0,
    10, 30, 100 and 300 right decisions: recall of each category, beside triage without a head, and a head alone.
    """
    from assistant.engine import install
    from assistant.lab.evaluation import learning

    capabilities = install(read_settings()).capabilities
    with progress_bar(quiet=as_json) as progress:
        if path is None:
            report = learning.simulate_sample(capabilities, seeds=seeds, progress=progress)
        else:
            report = learning.simulate(path, capabilities, label_field=label_field, seeds=seeds, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("cues")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--field",
    type=click.Choice(["priority", "sentiment", "needs_human"]),
    default="priority",
    show_default=True,
    help="With PATH: the field of triage that is measured.",
)
@click.option("--label", help="With PATH: field of the rows that says what is right.")
@click.option("--wanted", help="A value of the field, such as urgent: its precision, recall and AUROC are measured.")
@click.option("--is", "is_wanted", help="The label that stands for --wanted, where it is called otherwise, such as 1.")
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Measure each n-th row only.")
@json_option
def eval_cues(
    path: Path | None, field: str, label: str | None, wanted: str | None, is_wanted: str | None, every: int,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure what is recognised in messages before anything was learned: danger, urgency, feelings, wishes.

    Without PATH: precision and recall on our own example messages of seeds and languages held out from fitting. With
    PATH, a JSONL file or a folder of them: what the triage says of other tickets.
    """
    from assistant.engine import install
    from assistant.lab.cues import measuring
    from assistant.lab.cues.fitting import shipped_messages
    from assistant.runtime import mask_remote
    from assistant.skills import cue_heads
    from assistant.skills.taxonomy import load_taxonomy

    settings = read_settings()
    capabilities = mask_remote(install(settings).capabilities, settings, load_taxonomy(settings.taxonomy))
    report: measuring.HeldOut | measuring.OutOfTheBox
    with progress_bar(quiet=as_json) as progress:
        if path is None:
            embedder = capabilities.second_embedder
            heads = cue_heads.load()[embedder.name if embedder is not None else ""]
            report = measuring.evaluate_held_out(shipped_messages(embedder, progress), heads)
        else:
            question = measuring.Question(field, label, wanted, is_wanted)
            report = measuring.evaluate_out_of_the_box(
                path,
                question,
                capabilities=capabilities,
                taxonomy=load_taxonomy(settings.taxonomy),
                every=every,
                progress=progress,
            )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("masking")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Measure each n-th row only.")
@click.option("--show", default=0, show_default=True, help="Print so many false alarms and misses of each set.")
@click.option("--names", type=click.Path(exists=True, path_type=Path), help="Folder of Faker's and Mimesis' wheels.")
@json_option
def eval_masking(paths: tuple[Path, ...], every: int, show: int, names: Path | None, as_json: bool) -> None:
    """Measure which names and addresses are masked, and how often something else is.

    PATHS are JSONL files or folders of them, with text. Rows with spans (type PERSON or STREET_ADDRESS, start, end)
    give recall and precision; others are taken for support talk without people: the share of them in which a name or
    address is masked; with --names, also that of rows in which something is masked that has no first name on their
    lists. Without PATHS: our own example messages, by language.
    """
    from assistant.lab.evaluation.masking import evaluate_masking, first_names

    known = first_names(names) if names is not None else None
    with progress_bar(quiet=as_json) as progress:
        report = evaluate_masking(paths, every=every, first_names=known, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render(show))


@evaluate.command("grounding")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--show", default=0, show_default=True, help="Print so many of each kind that were judged wrongly.")
@json_option
def eval_grounding(paths: tuple[Path, ...], show: int, as_json: bool) -> None:
    """Measure which sentences would be said: our claims about the sample company's articles, right and wrong ones, and
    the reference answers in PATHS (folders as for `eval retrieval`)."""
    from assistant.lab.evaluation.grounding import evaluate_grounding

    report = evaluate_grounding(paths)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render(show))


@evaluate.command("retrieval")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--siblings", is_flag=True, help="Measure on manuals of similar products: synthetic ones, and those in PATHS."
)
@click.option("--product", help="A name, such as 'Nordwind X10': every article is about it, every question names it.")
@click.option(
    "--seed", default=0, show_default=True, help="Seed of the bootstrap, misspelt codes and synthetic manuals."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a chart with intervals (PNG).")
@json_option
def eval_retrieval(
    paths: tuple[Path, ...], siblings: bool, product: str | None, seed: int, plot: Path | None, as_json: bool
) -> None:
    """Measure search against BM25, embeddings and rank fusion: Recall@5, MRR@10, nDCG@10, latency.

    Each of PATHS is a folder with articles (JSON lines with id and text, Markdown, HTML) and questions (JSON lines with
    question and gold, the ids of the right articles). Questions for a list of codes are generated: the codes as people
    misspell and OCR misreads them. Your database is not touched.

    With --siblings, a folder has manuals (Markdown) and a CSV file of products (column name). Measured is whether the
    right product's passage comes first when the product is known from the ticket, the question or a photo, for manuals
    that are one article each and for manuals with an article for each section.
    """
    if not paths and not siblings:
        raise click.UsageError("Give at least one folder, or --siblings.")
    from assistant.engine import install
    from assistant.lab.evaluation.retrieval import evaluate_retrieval

    models = install(read_settings()).capabilities
    if siblings:
        _eval_siblings(paths, models, seed=seed, as_json=as_json)
        return
    with progress_bar(quiet=as_json) as progress:
        report = evaluate_retrieval(paths, models=models, product=product, seed=seed, progress=progress)
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


def _eval_siblings(paths: tuple[Path, ...], models: Capabilities, *, seed: int, as_json: bool) -> None:
    from assistant.lab.evaluation.siblings import evaluate_folder, evaluate_made

    with progress_bar(quiet=as_json) as progress:
        reports = [evaluate_made(models, seed=seed, progress=progress)]
        reports += [evaluate_folder(path, models, progress=progress) for path in paths]
    if as_json:
        click.echo(json.dumps([report.to_json() for report in reports], indent=2))
    else:
        click.echo("\n\n".join(report.render() for report in reports))


@evaluate.command("answers")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--from-decisions", is_flag=True, help="Instead: what agents and customers have made of your answers.")
@click.option("--count", default=100, show_default=True, type=click.IntRange(1), help="Questions of each folder.")
@click.option("--seed", default=0, show_default=True, help="Seed of the choice of questions.")
@click.option("--show", default=0, show_default=True, help="Print this many answers of each kind, to be read by hand.")
@click.option("--sample", "with_sample", is_flag=True, help="With PATHS: the sample company's questions, too.")
@click.option("--fit", "fitted", is_flag=True, help="Fit the confidence's weights, and measure them on sets left out.")
@json_option
def eval_answers(
    paths: tuple[Path, ...], from_decisions: bool, count: int, seed: int, show: int, with_sample: bool, fitted: bool,
    as_json: bool,
) -> None:  # fmt: skip
    """Measure which questions are answered, how often rightly, and whether the confidence is right.

    PATHS are folders as for `eval retrieval`; a reference answer (answer) in a question's row is compared too. Every
    question is asked as it is, and with its right articles left out; with several folders, also of another folder's
    articles. Your database is not touched. Without PATHS: the sample company's articles and our own questions.

    With --from-decisions, your database is read: of drafts and answers with each confidence, how many were sent
    unchanged or helped.
    """
    if from_decisions and paths:
        raise click.UsageError("Give folders or --from-decisions, not both.")
    if fitted and len(paths) + with_sample < 2:
        raise click.UsageError("Give at least two folders to --fit on.")
    from assistant.lab.evaluation.answers import evaluate_answers, render_verdicts

    if from_decisions:
        from assistant.desk.reports import verdicts

        with migrated() as db, db.read() as session:
            found = verdicts(session)
        click.echo(json.dumps([asdict(one) for one in found], indent=2) if as_json else render_verdicts(found))
        return
    from assistant.engine import install
    from assistant.runtime import mask_remote
    from assistant.skills.taxonomy import load_taxonomy

    settings = read_settings()
    with progress_bar(quiet=as_json) as progress:
        report = evaluate_answers(
            paths,
            models=mask_remote(install(settings).capabilities, settings, load_taxonomy(settings.taxonomy)),
            threshold=settings.answer_threshold,
            count=count,
            seed=seed,
            with_sample=with_sample or not paths,
            with_signals=fitted,
            progress=progress,
        )
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
        return
    parts = [report.examples(show), report.render()]
    if fitted:
        from assistant.lab.evaluation.confidence import fit

        parts.append(fit(report.sets, threshold=settings.answer_threshold).render())
    click.echo("\n\n".join(part for part in parts if part))


@evaluate.command("displays")
@click.option("--photos", type=click.IntRange(1), default=100, show_default=True, help="Number of photos to draw.")
@json_option
def eval_displays(photos: int, as_json: bool) -> None:
    """Measure how well seven-segment displays are read, on drawn photos that training never sees."""
    from assistant.engine import install
    from assistant.lab.evaluation.displays import evaluate_displays

    ocr = install(read_settings()).capabilities.ocr
    if ocr is None:
        raise click.ClickException("OCR is not installed. Run: pip install 'photo-support-assistant[demo]'")
    with progress_bar(quiet=as_json) as progress:
        report = evaluate_displays(ocr, photos=photos, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("questions")
@click.argument("paths", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--show", default=0, show_default=True, help="Print so many wrong answers.")
@click.option("--refit", "refitted", is_flag=True, help="First fit the head that ships to its examples anew.")
@json_option
def eval_questions(paths: tuple[Path, ...], show: int, refitted: bool, as_json: bool) -> None:
    """Measure how questions about photos are understood and answered, and whether what nothing answers stays so.

    PATHS are folders of JSON lines with image, question and answers (or answer, must_contain, product), or receipts
    with image, total, date and company. Without PATHS: which of our own questions are understood.
    """
    from assistant.lab.evaluation import questions
    from assistant.skills import photo_questions

    with running(read_settings()) as runtime, progress_bar(quiet=as_json) as progress:
        desk = runtime.desk
        if refitted:
            embedder = desk.capabilities.second_embedder or desk.capabilities.embedder
            photo_questions.save(questions.refit(embedder))
            photo_questions.load.cache_clear()
        report = questions.evaluate_questions(
            paths,
            capabilities=desk.capabilities,
            taxonomy=desk.taxonomy,
            limits=desk.photo_limits,
            progress=progress,
        )
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render(show))


@evaluate.command("compare")
@click.argument("folders", nargs=-1, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--pairs", type=click.IntRange(2), default=60, show_default=True, help="Number of pairs of each kind.")
@click.option("--first", default=1000, show_default=True, help="Number of the first pair.")
@json_option
def eval_compare(folders: tuple[Path, ...], pairs: int, first: int, as_json: bool) -> None:
    """Measure how well changes between two photos of one thing are found.

    Pairs are drawn devices from two angles in other light, of which every second one has a change; with FOLDERS of
    photos, also photos that are photographed twice. Numbers below 1000 were used to choose by.
    """
    from assistant.lab.evaluation.comparing import evaluate_comparing

    with progress_bar(quiet=as_json) as progress:
        report = evaluate_comparing(folders, pairs=pairs, first=first, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("copies")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--every", type=click.IntRange(1), default=1, show_default=True, help="Copy every so many-th photo only.")
@click.option("--start", type=click.IntRange(0), default=0, show_default=True, help="Number of the first one copied.")
@json_option
def eval_copies(folders: tuple[Path, ...], every: int, start: int, as_json: bool) -> None:
    """Measure how well copies of the photos in FOLDERS are found among them: cut, framed, turned, tinted, mirrored.

    Also how often another photo is taken for a copy: each pair of those in FOLDERS, and drawn devices that were
    photographed twice. Limits were chosen on even numbers, and every third.
    """
    from assistant.lab.evaluation.copies import evaluate_copies

    with progress_bar(quiet=as_json) as progress:
        report = evaluate_copies(folders, every=every, start=start, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("photos")
@click.argument("path", required=False, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--scenes",
    type=click.IntRange(1),
    default=200,
    show_default=True,
    help="Number of scenes to draw if there is no PATH.",
)
@click.option("--first", default=0, show_default=True, help="Number of the first scene.")
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write a calibration and abstention chart (PNG)."
)
@click.option(
    "--sheet", type=click.Path(dir_okay=False, path_type=Path), help="Write a contact sheet of the worst photos (PNG)."
)
@json_option
def eval_photos(
    path: Path | None, scenes: int, first: int, plot: Path | None, sheet: Path | None, as_json: bool
) -> None:
    """Measure how well photos are read: accuracy by field, exact codes, calibration, regions.

    PATH is a JSONL file, or a folder of them, with rows like {"photo": "a.jpg", "expected": {"product": "…"}}.
    Without it, scenes of the sample company are drawn that `assistant train` does not train on.
    """
    from assistant.lab.evaluation import photos

    settings = read_settings()
    with running(settings) as runtime, progress_bar(quiet=as_json) as progress:
        desk = runtime.desk
        parts = {"capabilities": desk.capabilities, "taxonomy": desk.taxonomy, "progress": progress}
        if path is None:
            from assistant.lab.evaluation.scenes import drawn, evaluate_scenes

            made = drawn(scenes, first=first)
            cases, report = [one.case for one in made], evaluate_scenes(made, **parts)
        else:
            cases = photos.read_cases(path, limits=desk.photo_limits)
            report = photos.evaluate_photos(cases, path=path.name, **parts)
    if plot is not None:
        report.plot(plot)
    if sheet is not None:
        photos.contact_sheet(report, cases, sheet)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("lights")
@click.option("--scenes", default=120, show_default=True, type=click.IntRange(1), help="Drawn devices to look at.")
@click.option(
    "--foreign",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with photos that show no lights. Repeat for several.",
)
@click.option(
    "--fit",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead, fit what finds lights to so many other drawn devices, and write it to this file.",
)
@json_option
def eval_lights(scenes: int, foreign: tuple[Path, ...], file: Path | None, as_json: bool) -> None:
    """Measure how well lights of devices that nobody has learned are told, and how often some are seen where none are.

    The devices are drawn, each other than the sample company's, and none of those that the finder was fitted to.
    """
    from assistant.lab.evaluation import lights

    with progress_bar(quiet=as_json) as progress:
        if file is not None:
            lights.fit(scenes, file, progress=progress)
            return
        report = lights.evaluate_lights(scenes, foreign, progress=progress)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("products")
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--foreign",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with photos of other things, of which nothing must be claimed. Repeat for several.",
)
@click.option(
    "--references",
    "counts",
    multiple=True,
    type=click.IntRange(1),
    default=(1, 3, 10),
    show_default=True,
    help="Reference photos of a product. Repeat for several.",
)
@click.option(
    "--retakes",
    default=4,
    show_default=True,
    type=click.IntRange(0),
    help="Of products with one photo only: retakes of it to ask about.",
)
@click.option("--seed", default=0, show_default=True, help="Seed of the choice of references.")
@json_option
def eval_products(
    path: Path, foreign: tuple[Path, ...], counts: tuple[int, ...], retakes: int, seed: int, as_json: bool
) -> None:  # fmt: skip
    """Measure how well own products are recognised from a few photos of each (`assistant products learn`).

    PATH is a folder with a folder for each product, or a folder of JSONL rows with product and photo. Half of the
    products are learned, and the other half's photos are foreign to them; then the other way round.
    """
    from assistant.engine import install
    from assistant.lab.evaluation.products import Plan, evaluate_products
    from assistant.media.photo import Limits

    installed = install(read_settings())
    features = installed.capabilities.photo_features
    if features is None:
        raise click.ClickException(NO_FEATURES)
    try:
        with progress_bar(quiet=as_json) as progress:
            report = evaluate_products(
                path, features=features, ocr=installed.capabilities.ocr, limits=Limits(),
                plan=Plan(foreign, counts, retakes, seed), progress=progress,
            )  # fmt: skip
    finally:
        installed.close()
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("photo-search")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@json_option
def eval_photo_search(folder: Path, as_json: bool) -> None:
    """Measure whether photos find the articles whose figures they resemble: by words, and by words and looks.

    FOLDER holds public sets: zammad_docs, grocery_products. Those that are not there are left out.
    """
    from assistant.engine import install
    from assistant.lab.evaluation.photo_search import evaluate_photo_search

    installed = install(read_settings())
    try:
        with progress_bar(quiet=as_json) as progress:
            report = evaluate_photo_search(folder, capabilities=installed.capabilities, progress=progress)
    finally:
        installed.close()
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())


@evaluate.command("fusion")
@click.argument("folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--scenes", type=click.IntRange(5), default=50, show_default=True, help="Number of photos to draw.")
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write bars of accuracy (PNG).")
@json_option
def eval_fusion(folder: Path | None, scenes: int, plot: Path | None, as_json: bool) -> None:
    """Measure what text and photo say of a ticket: each alone, put together in several ways, and as triage does it.

    Tickets are drawn scenes of the sample company with texts of customers. FOLDER holds public sets of photos, which
    get such texts, too: receipts, doorstep_packages, error_screenshots, zammad_docs; those that are not there are left
    out. All is asked again without photo or text, with a blurred or dark photo, and with the photo of another ticket.
    """
    from assistant.engine import install
    from assistant.lab.evaluation import fusion
    from assistant.media import Limits
    from assistant.skills.taxonomy import load_taxonomy

    taxonomy, installed = load_taxonomy(None), install(read_settings())
    sets = {"scenes": fusion.scenes(scenes, taxonomy)}
    if folder is not None:
        sets["public photos"] = fusion.real(folder, taxonomy, Limits())
    try:
        with progress_bar(quiet=as_json) as progress:
            report = fusion.evaluate_fusion(
                sets, capabilities=installed.capabilities, taxonomy=taxonomy, progress=progress
            )
    finally:
        installed.close()
    if plot is not None:
        report.plot(plot)
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else report.render())
