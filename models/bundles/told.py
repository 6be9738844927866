"""What a bundle that was put together says of itself: parts in order, roles, prices, evidence and a reason."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from features.arrays import Int32s, Int64s
from models.bundles.generate import Ground, Made
from models.bundles.offers import Offer, bundle_id_of, priced
from models.bundles.pairs import PairEvidence
from models.items import ItemTable
from models.reasons import Reason, reason

COUNTED: Final = "co_purchase"
OF_KINDS: Final = "complement"
ANCHOR: Final = "anchor"


@dataclass(frozen=True, eq=False, slots=True)
class Teller:
    """Puts sets into words."""

    pairs: PairEvidence
    items: ItemTable
    discount: float

    def offer(self, made: Made) -> Offer:
        """Return the offer of a set."""
        ground, n_fixed = made.ground, len(made.ground.start.fixed)
        added = np.array(made.assembled.members[n_fixed:], np.int64)
        added = added[np.argsort(-ground.links.pull[:, added - n_fixed].sum(axis=0), kind="stable")]
        members = np.concatenate([np.arange(n_fixed), added])
        parts = ground.item_idx[members]
        evidence, why, stage = self._why(ground, parts[n_fixed:], added - n_fixed)
        details = priced(parts.tolist(), self.items, self._roles(ground, members), evidence, discount=self.discount)
        named = bundle_id_of([self.items.text(i) for i in parts.tolist()])
        return Offer(-1, named, made.worth, made.assembled.distance, stage, why, details)

    def _roles(self, ground: Ground, members: Int64s) -> tuple[str, ...]:
        roles, told = ground.start.scenario.roles if ground.start.scenario else (), []
        for member in members.tolist():
            fills = [role.name for bit, role in enumerate(roles) if int(ground.roles[member]) >> bit & 1]
            kind = self.items.path(int(ground.item_idx[member])).rpartition("/")[2]
            told.append(ANCHOR if member < len(ground.start.fixed) else fills[0] if fills else kind)
        return tuple(told)

    def _why(self, ground: Ground, added: Int32s, columns: Int64s) -> tuple[dict[str, float], Reason, str]:
        """Return the evidence, its words, and the stage: counted only when baskets hold every part with a start."""
        pull, rule = ground.links.pull[:, columns], ground.start.scenario
        evidence: dict[str, float] = {}
        why, stage = reason("bundle_composed"), OF_KINDS
        if pull.any():
            strongest = pull.argmax(axis=0)
            counts, lifts = ground.links.count[strongest, columns], ground.links.lift[strongest, columns]
            evidence, why = self._strongest_link(ground, added, columns)
            if counts.all():
                stage = COUNTED
                evidence |= {"least_count": int(counts.min()), "least_lift": round(float(lifts.min()), 2)}
        if rule is not None:
            stage = f"scenario:{rule.name}"
            why = reason("bundle_rule", zh=rule.zh or rule.name, en=rule.en or rule.name)
        return evidence, why, stage

    def _strongest_link(self, ground: Ground, added: Int32s, columns: Int64s) -> tuple[dict[str, float], Reason]:
        pull = ground.links.pull[:, columns]
        row, column = (int(x) for x in np.unravel_index(int(np.argmax(pull)), pull.shape))
        first, second = int(ground.start.anchors[row]), int(added[column])
        count, lift = int(ground.links.count[row, columns[column]]), float(ground.links.lift[row, columns[column]])
        names = {"a": self._name(first), "b": self._name(second)}
        if not count:
            return {"kinds_lift": round(lift, 2)}, reason("bundle_kinds", **names)
        of = int(self.pairs.baskets[first])
        evidence = {"count": count, "of": of, "share": round(count / of, 4), "lift": round(lift, 2)}
        said = reason("bundle_together", percent=_short(100 * count / of), times=_short(lift), **names)
        return evidence, said

    def _name(self, item_idx: int) -> str:
        return self.items.titles[item_idx] or self.items.text(item_idx)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 9.95 else f"{value:.1f}"
