"""What became of a class, in words."""

from __future__ import annotations

from app.adaptation.adapt import ClassReport
from detclipv2.labeling.wilson import wilson


def report_line(report: ClassReport) -> str:
    """One line: what the scores come from, the threshold, how sure that is, and minutes."""
    if report.basis == "words":
        why = f"{report.boxes} reviewed boxes show no gain" if report.boxes else "none is reviewed"
        return f"{report.name}: words as before; {why}"
    if not report.shown:
        return f"{report.name}: {report.basis}; no box of the reviewed photos is sure enough yet"
    low, high = wilson(report.right, report.shown)
    return (
        f"{report.name}: {report.basis}, threshold {report.threshold:.2f}; of {report.shown} boxes "
        f"{report.right} right, precision {low:.2f} to {high:.2f}; spares "
        f"{report.seconds / 60:.1f} min on the reviewed photos, {report.seconds_words / 60:.1f} "
        "before"
    )
