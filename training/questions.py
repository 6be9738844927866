"""What a scene is asked about the customers of a split: to judge it, and to learn how it should blend its sources."""

from dataclasses import dataclass

import numpy as np

from features.arrays import Int32s
from features.errors import UsageError
from features.history import EMPTY, History
from models.config import SceneConfig
from training.split import Case, Split


@dataclass(frozen=True, eq=False, slots=True)
class Question:
    """What a scene asks about a case: at which moment, knowing what, for which truth; `probed` asks each source too."""

    case: Case
    scene: str
    k: int
    at: int
    tail: History
    truth: Int32s
    probed: bool = False


def scene_questions(split: Split, scene: str, recipe: SceneConfig, k: int) -> list[Question]:
    """Return what a scene is asked: `next_basket` at the moment of the first basket of the truth, the others ahead.

    A scene that may not repeat is asked for what is new to the customer, one that only repeats for what is not; who
    wanted nothing of the kind is not asked.
    """
    if recipe.start_from != "history":
        raise UsageError(f"The scene '{scene}' starts from items, not from a history; it cannot be judged this way.")
    events = split.known.product_events
    questions = []
    for case in split.cases:
        if scene == "next_basket":
            questions.append(Question(case, scene, k, case.basket_at, case.tail, case.basket))
            continue
        truth = case.truth
        if recipe.repeat_policy != "allow":
            bought = np.isin(truth, events.of(case.customer_idx).purchases.item_idx)
            truth = truth[~bought if recipe.repeat_policy == "exclude" else bought]
        if len(truth):
            questions.append(Question(case, scene, k, case.at, EMPTY, truth))
    return questions
