"""The page around the tabs: theme, style, keys; `build_app(engine)` gives a gr.Blocks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr
from gradio import themes

from app.engine import Engine
from app.ui.align import tab as align_tab
from app.ui.batch import tab as batch_tab
from app.ui.browse import tab as browse_tab
from app.ui.calibrate import tab as calibrate_tab
from app.ui.compare import tab as compare_tab
from app.ui.detect import tab as detect_tab
from app.ui.explore import tab as explore_tab
from app.ui.labelstudio import tab as labelstudio_tab
from app.ui.shared import html as render
from app.ui.shared.access import Access
from app.ui.shared.events import PRIVATE
from app.ui.shared.links import follow_links
from app.ui.shared.photo import DEMO, cache_folder
from app.ui.shared.run_folders import RunFolders
from app.ui.train import tab as train_tab

_HERE = Path(__file__).parent
# gradio applies a page's own css inside its main part only, so not to the footer
_FOOTER = (
    "<style>@media (max-width: 640px) { footer .divider { display: none !important; } }</style>"
)
_SANS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Liberation Sans", "sans-serif")
_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace")


def build_app(engine: Engine, access: Access | None = None) -> gr.Blocks:
    """The whole app over one engine; serve it with `app.ui.serve`.

    Args:
        engine: what all tabs run.
        access: what visitors may name; None for nothing.
    """
    rules = access or Access()
    # uploads and drawings older than a day are removed, checked every hour
    with gr.Blocks(title="DetCLIPv2", analytics_enabled=False, delete_cache=(3600, 86400)) as app:
        gr.HTML(render.header(engine), elem_id="header")
        guest = gr.HTML(visible=False, elem_id="guest-status")
        # a State among the tabs would shift their names
        runs, label_studio = RunFolders(access=rules), gr.State(None)
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab("Detect", id="detect"):
                detect = detect_tab.build(engine)
            with gr.Tab("Align", id="align"):
                align = align_tab.build(engine)
            with gr.Tab("Browse", id="browse"):
                browse = browse_tab.build(engine, rules, detect.prompts, align, tabs)
            with gr.Tab("Compare", id="compare"):
                compare = compare_tab.build(engine, rules, cache_folder())
            with gr.Tab("Batch", id="batch") as batch:
                batch_tab.build(engine, runs, rules, label_studio, batch)
            with gr.Tab("Explore", id="explore") as exploring:
                explore_tab.build(engine, runs, rules, label_studio, exploring)
            with gr.Tab("Label Studio", id="labelstudio") as pushing:
                labelstudio_tab.build(runs, rules, label_studio, pushing)
            with gr.Tab("Calibrate", id="calibrate") as calibrating:
                calibrate_tab.build(runs, label_studio, calibrating)
            with gr.Tab("Train", id="train"):
                train = train_tab.build(rules)

        def show_notice(visitor: gr.Request) -> gr.HTML:
            notice = render.status("idle", rules.notice(visitor))
            return gr.HTML(notice, visible=not rules.is_operator(visitor))

        app.load(show_notice, None, guest, show_progress="hidden", queue=False, **PRIVATE)
        follow_links(app, tabs, [detect.followed, align.followed, browse, compare, train])
    return app


def page_options() -> dict[str, Any]:
    """Arguments of `gradio.mount_gradio_app` that belong to the page.

    Nothing in them needs the internet.
    """
    return {
        "theme": theme(),
        "css": (_HERE / "page.css").read_text(encoding="utf-8") + detect_tab.sample_css(),
        "head": f"{_FOOTER}<script>{(_HERE / 'page.js').read_text(encoding='utf-8')}</script>",
        "footer_links": ["api", "settings"],
        "run_history": False,  # photos stay where they are, not in the browser's storage
        "ssr_mode": False,
        # Toasts are HTML; what nobody foresaw, and so did not escape, stands in the terminal.
        "show_error": False,
        "max_file_size": "64mb",
        # The samples; gradio shows files of the current folder anyway, of others only if asked to.
        "allowed_paths": [str(DEMO)],
    }


def theme() -> themes.Base:
    """Calm greys, one teal accent, the system's own fonts: a page that loads without a network."""
    return themes.Base(
        primary_hue=themes.colors.teal,
        neutral_hue=themes.colors.slate,
        radius_size=themes.sizes.radius_md,
        font=_SANS,
        font_mono=_MONO,
    ).set(
        body_background_fill="*neutral_50",
        body_background_fill_dark="*neutral_950",
        block_background_fill="white",
        block_background_fill_dark="*neutral_900",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_800",
        button_primary_text_color="white",
        # 4.5 : 1 on all backgrounds, which gradio's own do not reach
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_300",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_300",
        input_placeholder_color="*neutral_600",
        input_placeholder_color_dark="*neutral_300",
    )
