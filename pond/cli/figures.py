"""An evaluation as tables: each system beside the others, differences with their intervals, slices."""

from rich.text import Text

from features.sentences import counted
from pond.cli.session import Session
from pond.cli.tables import table
from training.evaluate import POND, EvaluationReport, SceneReport
from training.metrics import Interval, Reach

SHOWN = ("recall", "ndcg", "hit_rate", "mrr")


def show_evaluation(session: Session, report: EvaluationReport) -> None:
    """Print a report: one table a scene, and what was judged how."""
    out = session.out
    who, ahead = counted(report.n_customers, "customer"), counted(report.horizon_days, "day")
    session.say(f"{who}, protocol {report.protocol}, {ahead} ahead")
    if report.note:
        session.say(report.note)
    for scene in report.scenes.values():
        out.print(_scene_table(scene))
        for against, differences in scene.differences.items():
            session.say("  " + _compared(against, differences))
        sources = ", ".join(
            f"{name} {share:.0%}" for name, share in sorted(scene.stage_share.items(), key=lambda s: -s[1])
        )
        session.say(f"  places filled by: {sources}")
        session.say("  " + _reached(scene.reach))


def _scene_table(scene: SceneReport) -> object:
    names = [m for m in next(iter(scene.metrics.values())) if m.partition("@")[0] in SHOWN]
    covered = list(next(iter(scene.coverage.values())))
    head = (f"{scene.scene} ({counted(scene.n_customers, 'customer')})", *names, *covered)
    rows = []
    for system, metrics in scene.metrics.items():
        figures = [f"{metrics[name].mean:.4f}" for name in names]
        figures += [f"{scene.coverage[system][name]:.3f}" for name in covered]
        rows.append((Text(system, "bold" if system == POND else ""), *figures))
    return table(head, rows, right=head[1:])


def _reached(reach: Reach) -> str:
    parts = [f"{name} {found:.1%} (only it {reach.added[name]:.1%})" for name, found in reach.alone.items()]
    return f"of what was bought, candidates hold: {', '.join(parts)}; all together {reach.together:.1%}"


def _compared(against: str, differences: dict[str, Interval]) -> str:
    parts = [
        f"{name} {d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
        for name, d in differences.items()
        if name.partition("@")[0] in ("recall", "ndcg")
    ]
    return f"{POND} − {against} (95 %): {'  '.join(parts)}"
