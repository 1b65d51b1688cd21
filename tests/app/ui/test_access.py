"""What visitors may name: allowed folders, no hosts, no key of ours."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
import pytest

from app.browse.job import FOLDER_VARIABLE, run_of
from app.browse.records import About
from app.engine import Engine
from app.runs import sources
from app.ui.browse.actions import BrowseActions
from app.ui.compare.actions import CompareActions
from app.ui.compare.find import Detectors
from app.ui.shared.access import Access, AccessError
from app.ui.shared.permalink import Link
from app.ui.train.actions import TrainActions
from detclipv2.datasets.captions import Captioned
from tests.app.ui.notices import notice
from tests.app.ui.visitors import ELSEWHERE, HERE, LOOKS, RULES, TOKEN, visitor


@pytest.mark.parametrize(
    ("host", "token", "operator"),
    [
        ("127.0.0.1", TOKEN, True),
        ("127.8.9.1", TOKEN, True),
        ("::1", TOKEN, True),
        ("127.0.0.1", "", False),
        ("127.0.0.1", TOKEN[:-1], False),
        ("192.168.0.2", TOKEN, False),
        ("fe80::1", TOKEN, False),
        ("unknown", TOKEN, False),
    ],
)
def test_the_operator_has_the_token_and_sits_here(host: str, token: str, operator: bool) -> None:
    assert RULES.is_operator(visitor(host, token)) is operator
    assert not Access().is_operator(visitor(host, token)), "nobody is, where there is no token"
    assert bool(RULES.notice(visitor(host, token))) is not operator


def test_visitors_behind_one_proxy_are_not_one_visitor() -> None:
    assert RULES.origin(HERE) == ""
    assert RULES.origin(ELSEWHERE) == "203.0.113.7"
    tunnelled = {RULES.origin(visitor("127.0.0.1", session=page)) for page in ("a", "b")}
    assert len(tunnelled) == 2 and "" not in tunnelled


def test_folders_that_were_allowed_and_nothing_around_them(photos: Path, tmp_path: Path) -> None:
    access = Access(((photos / "sub").resolve(),), TOKEN)
    access.check_paths([str(photos), "/etc"], HERE)
    inside = [str(photos / "sub"), str(photos / "sub" / "*.jpg"), "https://host/a.jpg"]
    access.check_paths(inside, ELSEWHERE)
    around = ("", "/*/coffee.jpg", "/sub/../coffee.jpg", "/sub/*/../../coffee.jpg", "/subway")
    for outside in (*(f"{photos}{end}" for end in around), "~", "*.jpg"):
        with pytest.raises(AccessError, match=r"may not read .* --allow-folder"):
            access.check_paths([outside], ELSEWHERE)
    access.check_images(sources.find_images([photos / "sub"]), ELSEWHERE)
    (photos / "sub" / "link.jpg").symlink_to(photos / "coffee.jpg")
    found = sources.find_images([photos / "sub"])
    access.check_images(found, HERE)
    with pytest.raises(AccessError, match=r"coffee\.jpg"):
        access.check_images(found, ELSEWHERE)


@pytest.mark.parametrize("text", ["a" * 5000, "/" + "b/" * 3000, "~nobody-of-that-name/a", "a\0b"])
def test_texts_that_no_path_can_be_are_refused_in_words(
    text: str, shared_engine: Engine, tmp_path: Path
) -> None:
    for who in (HERE, ELSEWHERE):
        with pytest.raises(AccessError, match="is no path"):
            RULES.check_paths([text], who)
        for said in (
            notice(BrowseActions(shared_engine, RULES).start(text, who)),
            notice(TrainActions(RULES).find(text, who)),
            notice(
                next(
                    CompareActions(Detectors(shared_engine), RULES).run(
                        None, text, "cup", "", "", "", "", "", *LOOKS, 0.3, who
                    )
                )
            ),
            notice(
                next(
                    CompareActions(Detectors(shared_engine), RULES).run(
                        "a.jpg", "", "cup", "", "", "", text, "", *LOOKS, 0.3, who
                    )
                )
            ),
        ):
            assert "is no path" in said


def test_hosts_and_keys_are_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    access = RULES
    monkeypatch.setenv("DETCLIPV2_IMAGE_HOSTS", "photos.example")
    assert access.hosts("inside.example", HERE).names == {"inside.example"}
    assert access.hosts("", ELSEWHERE).names == {"photos.example"}
    assert access.hosts("photos.example", ELSEWHERE).names == {"photos.example"}
    with pytest.raises(AccessError, match=r"can allow inside\.example"):
        access.hosts("photos.example, inside.example", ELSEWHERE)
    monkeypatch.setenv("LABEL_STUDIO_URL", "http://labels.example/")
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "1" * 40)
    assert access.connect("", "", HERE).url == "http://labels.example"
    with pytest.raises(AccessError, match="your own key"):
        access.connect("", "", ELSEWHERE)
    with pytest.raises(AccessError, match="was started with"):
        access.connect("http://inside.example", "2" * 40, ELSEWHERE)
    assert access.connect("http://labels.example", "2" * 40, ELSEWHERE).url.endswith("example")


def test_compare_reads_folders_and_models_for_who_may_name_them(
    shared_engine: Engine, checkpoint: Path, photos: Path
) -> None:
    closed = CompareActions(Detectors(shared_engine), RULES)
    photo = str(photos / "coffee.jpg")

    def compare(by: CompareActions, who: gr.Request, folder: str, model: str = "") -> list[str]:
        asked = (photo, folder, "cup", "", "", "", "", model, *LOOKS, 0.3, who)
        return [notice(answer) for answer in by.run(*asked)]

    assert "of 4 photos" in compare(closed, HERE, str(photos))[1]
    assert "may not read" in compare(closed, ELSEWHERE, str(photos))[0]
    assert "may not read" in compare(closed, ELSEWHERE, str(photos / "nowhere"))[0]
    allowed = CompareActions(Detectors(shared_engine), Access((photos.resolve(),), TOKEN))
    assert "of 4 photos" in compare(allowed, ELSEWHERE, str(photos))[1]
    (photos / "out.jpg").symlink_to(checkpoint / "config.json")
    assert "may not read" in compare(allowed, ELSEWHERE, str(photos))[0]
    assert "may not read" in compare(closed, ELSEWHERE, "", str(checkpoint))[0]
    assert "may not read" in compare(closed, ELSEWHERE, "", "../" + checkpoint.name)[0]
    for who, model in ((ELSEWHERE, shared_engine.name), (ELSEWHERE, "nano"), (HERE, "nano")):
        assert "may not read" not in compare(closed, who, "", model)[0]


def test_browse_shows_data_sets_to_who_may_name_them(
    shared_engine: Engine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "browse"))
    run = run_of(photos, shared_engine.fingerprint)
    around = Captioned("b", tmp_path / "b.jpg", "a cat")
    entered = [Captioned("a", photos / "coffee.jpg", "a cup"), around]
    run.begin(entered, About(str(photos), "tiny", "0", {}))
    with run._open() as db:
        db.execute("UPDATE photos SET state = 'done'")
    folder = str(run.folder)
    closed = BrowseActions(shared_engine, RULES)
    allowed = BrowseActions(shared_engine, Access((photos.resolve(),), TOKEN))
    assert "may not read" in notice(closed.start(str(photos), ELSEWHERE))
    assert closed.earlier(ELSEWHERE).choices == []
    assert len(closed.earlier(HERE).choices) == len(allowed.earlier(ELSEWHERE).choices) == 1
    assert notice(closed.choose(folder, ELSEWHERE)) == ""
    assert folder in notice(closed.choose(folder, HERE))
    assert folder in notice(allowed.choose(folder, ELSEWHERE))
    link = Link("browse", settings={"run": run.folder.name})
    assert "not aligned on this machine" in notice(closed.follow(link, ELSEWHERE))
    assert "a cup" in notice(closed.follow(link, HERE))
    # captions that name a photo outside the folder do not show it
    shown = (folder, "", 6.0, False, 0.0, "worst", 1)
    assert "may not read" in notice(allowed.show(*shown, ELSEWHERE))
    assert "a cat" in notice(allowed.show(*shown, HERE))


def test_train_shows_runs_to_who_may_name_them(training_run: Path) -> None:
    root, run = str(training_run.parent), str(training_run)
    closed, allowed = (
        TrainActions(RULES),
        TrainActions(Access((training_run.parent.resolve(),), TOKEN)),
    )
    link = Link("train", settings={"run": run, "snapshot": "latest"})
    for actions, who, refused in (
        (closed, HERE, False),
        (closed, ELSEWHERE, True),
        (allowed, ELSEWHERE, False),
    ):
        for said in (
            notice(actions.find(root, who)),
            notice(actions.show(run, None, who)),
            actions.alignments(run, "latest", who),
            notice(actions.follow(link, who)),
        ):
            assert ("may not read" in said) is refused
    assert "may not read" in notice(closed.find("", ELSEWHERE)), "the default folder as well"
