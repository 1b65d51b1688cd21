"""`app.cli push · pull · calibrate · queue · serve-backend`."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack, closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.commands.serve_backend import add_backend
from app.commands.server_options import add_server, connect, root_of
from app.formats.atomic import write_bytes
from app.labelstudio.api.environment import DOCUMENT_ROOT
from app.runs.records import ImageRef
from app.runs.store import Run


def add_commands(commands: Any) -> None:
    """Add the commands to argparse's sub-parsers."""
    push = commands.add_parser(
        "push",
        help="send a run's boxes to a Label Studio project as pre-labels",
        description="Compare a run with a project and send what is missing. The same push twice "
        "changes nothing; one that was interrupted goes on. Exit code 1 where classes were left "
        "out, because no label takes them.",
    )
    push.add_argument("run", type=Path, metavar="RUN", help="run folder")
    add_server(push)
    push.add_argument(
        "--dry-run", action="store_true", help="say what would be done, write nothing"
    )
    push.add_argument(
        "--replace",
        action="store_true",
        help="delete the predictions of other prompts or checkpoints once the new ones are there",
    )
    push.add_argument(
        "--control",
        metavar="NAME",
        help="use only this RectangleLabels, or Labels beside a Rectangle; default: all",
    )
    push.add_argument(
        "--create-project", metavar="TITLE", help="make a project with one label a class first"
    )
    push.add_argument(
        "--create-tasks",
        choices=("local", "upload"),
        help="make tasks for images that have none: below the document root, or uploaded",
    )
    push.add_argument(
        "--allow-empty",
        action="store_true",
        help="write predictions although no label takes what was found, and all are empty",
    )
    push.add_argument("--add-labels", action="store_true", help="add missing labels to the project")
    push.set_defaults(act=run_push)

    pull = commands.add_parser(
        "pull",
        help="fetch what labelers made of the pushed boxes, and the minutes it spared",
        description="Every submitted annotation that began as a prediction, box by box.",
    )
    add_server(pull)
    pull.add_argument("--model-version", metavar="V", help="only of this version")
    pull.add_argument("--out", type=Path, metavar="FILE", help="write a JSON of all boxes")
    pull.set_defaults(act=run_pull)

    calibrate = commands.add_parser(
        "calibrate",
        help="propose thresholds from what labelers accepted",
        description="Precision and recall against the threshold, per class, with 95 % Wilson "
        "intervals; the lowest threshold that surely reaches the wanted precision.",
    )
    add_server(calibrate)
    calibrate.add_argument("--precision", type=float, default=0.8, metavar="P", help="default: 0.8")
    calibrate.add_argument("--model-version", metavar="V", help="only of this version")
    calibrate.add_argument(
        "--apply", type=Path, metavar="RUN", help="set the proposals in this run; no model runs"
    )
    calibrate.set_defaults(act=run_calibrate)

    queue = commands.add_parser(
        "queue",
        help="write which task wants a look first, where Label Studio can sort by it",
        description="Ranks tasks and writes the rank as the predictions' score: order by "
        "“Prediction score”, ascending.",
    )
    queue.add_argument("run", type=Path, metavar="RUN", help="the run that was pushed")
    add_server(queue)
    queue.add_argument(
        "--by",
        choices=("threshold", "labelers", "comparison"),
        default="threshold",
        help="scores near the threshold, what labelers changed, or differences to --other",
    )
    queue.add_argument("--other", type=Path, metavar="RUN", help="with --by comparison")
    queue.set_defaults(act=run_queue)
    add_backend(commands)


def run_push(arguments: argparse.Namespace) -> int:
    """Dry run, then push."""
    from tqdm import tqdm

    from app.commands.detect import OK, SOME_FAILED
    from app.labelstudio.api.tasks import create_local_tasks, upload_tasks
    from app.labelstudio.push.plan import plan
    from app.labelstudio.push.push import push
    from app.labelstudio.push.run_projects import create_run_project, project_of_run
    from app.runs import sources

    root = root_of(arguments)
    code = OK

    def missed(image: ImageRef, reason: str) -> None:
        nonlocal code
        code = SOME_FAILED
        print(f"{image.file_name} is left out: {reason}", file=sys.stderr)

    with ExitStack() as stack:
        run = Run(arguments.run)
        stack.callback(run.close)
        connection = stack.enter_context(closing(connect(arguments)))
        project, title = arguments.project, arguments.create_project
        if project is None and title:
            project = project_of_run(run, connection, title)
            if project is not None:
                print(f"project {project} “{title}” was made from this run and is used again")
            elif arguments.dry_run:
                raise ValueError("a dry run makes no project; name one with --project")
            else:
                project = create_run_project(run, connection, title)
                print(f"made project {project} at {connection.url}/projects/{project}")
        project = _project(project)
        # what came from a task has one, and its address names no file of this machine
        refs = [row.ref for row in run.images("done", "empty") if row.task is None]
        if arguments.create_tasks and arguments.dry_run:
            print("dry run: images below that have no task would get one")
        elif arguments.create_tasks == "local":
            if root is None:
                raise ValueError(f"--create-tasks local needs --document-root or ${DOCUMENT_ROOT}")
            made = create_local_tasks(connection, project, refs, root)
            print(f"{made.created} tasks made, {made.there} there already")
        elif arguments.create_tasks == "upload":
            made = upload_tasks(connection, project, refs, sources.read, on_missing=missed)
            print(f"{made.created} images uploaded, {made.there} there already")
        options: dict[str, Any] = {
            "old": "replace" if arguments.replace else "keep",
            "control": arguments.control,
            "document_root": root,
        }
        planned = plan(run, connection, project, **options)
        if arguments.add_labels and planned.labels.missing and not arguments.dry_run:
            change = {"label_config": planned.labels.completed}
            connection.write("PATCH", f"/api/projects/{project}/", json=change)
            planned = plan(run, connection, project, **options)
        print("\n".join(planned.lines()))
        if planned.left_out or planned.labels.missing:
            code = SOME_FAILED
        if arguments.dry_run:
            print("dry run: nothing was written")
            return code
        with tqdm(total=len(planned.writes), unit="task", file=sys.stderr) as bar:
            report = push(
                planned,
                connection,
                lambda done, total: bar.update(done - bar.n),
                allow_empty=arguments.allow_empty,
            )
    print(
        f"{report.created} created, {report.replaced} replaced, {report.skipped} there already, "
        f"{report.deleted} deleted, {report.retried} sent again; read back and equal; "
        f"{report.rate:.0f} tasks/s"
    )
    return code


def run_pull(arguments: argparse.Namespace) -> int:
    """Print verdicts and minutes; write boxes."""
    from app.labelstudio.learn.pull import effort, pull

    with closing(connect(arguments)) as connection:
        project = _project(arguments.project)
        tasks = list(pull(connection, project, model_version=arguments.model_version))
    if arguments.out:
        content = [asdict(task) for task in tasks]
        write_bytes(arguments.out, json.dumps(content, ensure_ascii=False, indent=1).encode())
    print(f"{len(tasks)} annotations began as predictions")
    print(effort(tasks).sentence())
    return 0


def run_calibrate(arguments: argparse.Namespace) -> int:
    """Print proposals; apply them to a run."""
    from app.labelstudio.learn.proposals import apply_to_run, proposals_of
    from app.labelstudio.learn.pull import pull

    with ExitStack() as stack:
        connection = stack.enter_context(closing(connect(arguments)))
        project = _project(arguments.project)
        run = None
        if arguments.apply:
            run = Run(arguments.apply)
            stack.callback(run.close)
        tasks = pull(connection, project, model_version=arguments.model_version)
        checkpoint = None if run is None else run.settings.checkpoint
        found = proposals_of(tasks, arguments.precision, checkpoint)
        for one in found.proposals:
            what = "no threshold" if one.threshold is None else f"threshold {one.threshold:.3f}"
            print(f"{one.name}: {what}; {one.reason}")
        if not found.proposals:
            print("no labels yet: labelers have to submit tasks that began as predictions")
        print(found.reviews.sentence())
        if run is not None:
            counts = apply_to_run(run, found.proposals, connection, project).counts
            print(f"applied to {run.folder}: {counts.done} images with boxes, {counts.empty} empty")
            print(f"the next push is version {run.model_version}")
    return 0


def run_queue(arguments: argparse.Namespace) -> int:
    """Rank and write."""
    from app.labelstudio.learn.pull import pull
    from app.labelstudio.push.plan import tasks_of
    from app.labelstudio.push.queue import by_comparison, by_labelers, by_threshold, write_queue

    if (arguments.by == "comparison") != (arguments.other is not None):
        raise ValueError("--by comparison and --other RUN belong together")
    with ExitStack() as stack:
        run = Run(arguments.run)
        stack.callback(run.close)
        connection = stack.enter_context(closing(connect(arguments)))
        project = _project(arguments.project)
        if arguments.by == "labelers":
            ranked = by_labelers(pull(connection, project))
        elif arguments.by == "comparison":
            other = Run(arguments.other)
            stack.callback(other.close)
            pairs = tasks_of(run, connection, project, root_of(arguments))
            ranked = by_comparison(run, other, pairs)
        else:
            from app.index.photos import photo_embeddings

            pairs = tasks_of(run, connection, project, root_of(arguments))
            ranked = by_threshold(run, pairs, photo_embeddings(run))
        count = write_queue(ranked, connection, project, run.model_version)
    for one in ranked[:5]:
        print(f"task {one.task}: {one.urgency:.2f}, {one.reason}")
    print(f"{count} tasks ranked; order by “Prediction score”, ascending")
    return 0


def _project(project: int | None) -> int:
    if project is None:
        raise ValueError("name the project with --project, or make one with --create-project TITLE")
    return project
