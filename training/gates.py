"""Gates: a new release must do no worse than the serving one and than the honest baselines (DESIGN §6).

Every comparison is of the same customers on the same split, with the paired bootstrap interval of the difference.
"""

from typing import Final, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict

from features.errors import GateRefused
from features.sentences import counted
from training.baselines import FREQUENCY, POPULARITY
from training.evaluate import INCUMBENT, EvaluationReport
from training.metrics import Interval
from training.settings import TrainingSettings

JUDGED: Final = ("recall", "ndcg")
ENOUGH: Final = 30  # customers; an interval over fewer says little, and nothing is refused on it
TOO_FEW: Final = "too few to judge"
Verdict: TypeAlias = Literal["better", "even", "worse", "too few to judge"]
_NAMES: Final = {
    POPULARITY: "global popularity",
    FREQUENCY: "personal frequency",
    INCUMBENT: "the release that serves",
}


class Gate(BaseModel):
    """One comparison: the candidate minus `against`, in one scene by one metric."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    against: str
    scene: str
    metric: str
    difference: Interval
    verdict: Verdict
    passed: bool

    @property
    def judged(self) -> bool:
        """Whether there were customers enough for it to mean something."""
        return self.verdict != TOO_FEW

    @property
    def sentence(self) -> str:
        """The comparison in words with its figures."""
        d = self.difference
        return (
            f"{self.scene} {self.metric}: {d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}] against {_NAMES[self.against]}, "
            f"{counted(d.n, 'customer')}: {self.verdict}"
        )


class GateReport(BaseModel):
    """All comparisons of a candidate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    gates: tuple[Gate, ...]
    first: bool

    @property
    def passed(self) -> bool:
        """Whether every gate lets the candidate through."""
        return all(gate.passed for gate in self.gates)

    @property
    def unjudged(self) -> int:
        """How many gates had too few customers to say anything."""
        return sum(not gate.judged for gate in self.gates)

    @property
    def as_facts(self) -> dict[str, str]:
        """Return what a manifest keeps, by name."""
        facts = {
            f"{g.against}.{g.scene}.{g.metric}": f"{'pass' if g.passed else 'FAIL'}; {g.sentence}" for g in self.gates
        }
        if self.first:
            facts["first"] = "first release of the shop: promoted whatever the gates say"
        return facts

    def refusal(self, release_id: str) -> GateRefused:
        """Return the error of a refused candidate, naming each gate that refused it."""
        lost = "; ".join(gate.sentence for gate in self.gates if not gate.passed)
        return GateRefused(
            f"The release {release_id} is kept as challenger and does not serve ({lost}); change the configuration, or "
            f"promote it anyway with `pond promote {release_id}`."
        )


def judge_gates(report: EvaluationReport, settings: TrainingSettings, *, first: bool) -> GateReport:
    """Compare pond with every other system of a report, in the gate scenes, at the shortest list.

    Fewer than `ENOUGH` customers refuse nothing. `no_worse` refuses what is worse (interval below 0); `better` refuses
    also what does not beat the baselines (interval not above 0). The incumbent need not be beaten: the same recipe
    is its own equal.
    """
    gates = []
    for scene in settings.gate_scenes:
        compared = report.scenes[scene].differences if scene in report.scenes else {}
        for against, differences in compared.items():
            for metric in (f"{name}@{settings.k[0]}" for name in JUDGED):
                found = verdict(differences[metric])
                strict = settings.gate == "better" and against != INCUMBENT
                passed = settings.gate == "off" or found in ("better", TOO_FEW)
                passed = passed or (found == "even" and not strict)
                gates.append(
                    Gate(
                        against=against,
                        scene=scene,
                        metric=metric,
                        difference=differences[metric],
                        verdict=found,
                        passed=passed,
                    )
                )
    return GateReport(gates=tuple(gates), first=first)


def verdict(difference: Interval) -> Verdict:
    """Better or worse when the interval lies on one side of 0, else even; of too few customers nothing is said."""
    if difference.n < ENOUGH:
        return TOO_FEW
    if difference.low > 0:
        return "better"
    return "worse" if difference.high < 0 else "even"
