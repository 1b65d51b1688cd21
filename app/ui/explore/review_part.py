"""Learn: one photo after the other, its boxes right or wrong, and a run that learns from it."""

from __future__ import annotations

from typing import Any

import gradio as gr

from app.ui.explore.cards import VIEW_JS
from app.ui.explore.indexed_runs import IndexedRuns
from app.ui.explore.learn_actions import LearnActions
from app.ui.explore.panel import panel
from app.ui.explore.review import LEARN_EVERY, ReviewState, decide, decide_rest, undo
from app.ui.explore.review_actions import CHOOSES, DRAWS, Act, ReviewActions, ReviewOutputs
from app.ui.shared import html as render
from app.ui.shared.events import LONG, PRIVATE


def build(indexed: IndexedRuns, run: gr.Dropdown, connection: gr.State) -> None:
    """Lay the part out in the current place."""
    actions, learning = ReviewActions(indexed), LearnActions(indexed)
    state = gr.State(ReviewState())
    begin = gr.Button("Review the run", variant="primary", elem_id="learn-begin")
    status = gr.HTML(
        render.status(
            "idle",
            "Photos come up by how much they are in doubt. Decisions are kept at once; after "
            f"every {LEARN_EVERY} reviewed photos the classes are learned anew.",
        ),
        elem_id="learn-status",
        elem_classes="plain",
    )
    # Hidden until there is a photo to decide about.
    with gr.Row(equal_height=False, visible=False) as work:
        with gr.Column(scale=3, min_width=300):
            shown = panel("learn-view", VIEW_JS)
            mode = gr.Radio(
                [CHOOSES, DRAWS],
                value=CHOOSES,
                label="A press on the photo",
                elem_id="learn-mode",
                info="A missing box is drawn by two presses, on two opposite corners.",
            )
        with gr.Column(scale=2, min_width=300):
            box = gr.Dropdown(
                choices=[], value=None, label="Box", elem_id="learn-box", interactive=True
            )
            with gr.Row():
                right = gr.Button("Right", elem_id="learn-right", min_width=80)
                wrong = gr.Button("Wrong", elem_id="learn-wrong", min_width=80)
            with gr.Row():
                rest_right = gr.Button(
                    "Others are right", elem_id="learn-rest-right", min_width=120
                )
                rest_wrong = gr.Button(
                    "Others are wrong", elem_id="learn-rest-wrong", min_width=120
                )
            name = gr.Dropdown(
                choices=[],
                value=None,
                label="Class",
                elem_id="learn-class",
                interactive=True,
                info="Of a missing box, or for a box that is of another class.",
            )
            rename = gr.Button("Give the box this class", elem_id="learn-rename")
            with gr.Accordion("A missing box by numbers", open=False):
                corners = gr.Textbox(
                    value="",
                    label="Left, top, right, bottom",
                    max_lines=1,
                    elem_id="learn-corners",
                    placeholder="10, 20, 80, 90",
                    info="In pixels of the photo.",
                )
                add = gr.Button("Add it", elem_id="learn-add")
            done = gr.Button("Nothing is missing: next", variant="primary", elem_id="learn-done")
            with gr.Row():
                back = gr.Button("Undo", elem_id="learn-undo", min_width=80)
                skip = gr.Button("Skip ▶", elem_id="learn-skip", min_width=80)
    with gr.Row():
        now = gr.Button("Learn now", elem_id="learn-now")
        unlearn = gr.Button("Put the words' boxes back", elem_id="learn-unlearn")
    learned = gr.HTML("", elem_id="learn-learned", elem_classes="plain")

    photo: list[Any] = list(ReviewOutputs(state, shown, box, name, status))
    here = [run, state, connection]
    quiet: dict[str, Any] = {"show_progress": "hidden", **LONG, **PRIVATE}
    begin.click(actions.begin, here, photo, **quiet).then(
        lambda state: gr.Row(visible=bool(state.image)), state, work, **quiet
    )
    skip.click(actions.skip, here, photo, **quiet)
    shown.select(actions.press, [run, state, mode, name, connection], photo, **quiet)
    box.input(actions.choose, [run, box, state, connection], photo, **quiet)
    acts: dict[gr.Button, Act] = {
        right: lambda opened, state, by: decide(opened, state, "right", by),
        wrong: lambda opened, state, by: decide(opened, state, "wrong", by),
        rest_right: lambda opened, state, by: decide_rest(opened, state, True, by),
        rest_wrong: lambda opened, state, by: decide_rest(opened, state, False, by),
        back: undo,
    }
    for button, act in acts.items():
        button.click(actions.doing(act), here, photo, **quiet)
    rename.click(actions.rename, [run, state, name, connection], photo, **quiet)
    gr.on(
        [add.click, corners.submit],
        actions.add,
        [run, state, name, corners, connection],
        photo,
        **quiet,
    )
    again = actions.doing(lambda opened, state, by: state.of_photo(opened, state.image))
    learns: dict[str, Any] = {"show_progress_on": [learned], **LONG, **PRIVATE}
    done.click(actions.finish, here, photo, **quiet).then(
        learning.learn_if_due, [run, state], [state, learned], **learns
    ).then(actions.next_if_finished, here, photo, **quiet)
    now.click(learning.learn, [run, state], [state, learned], **learns).then(
        again, here, photo, **quiet
    )
    unlearn.click(learning.unlearn, run, learned, **LONG, **PRIVATE).then(
        again, here, photo, **quiet
    )
