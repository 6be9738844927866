"""Settings of part `contents`."""

from pydantic import BaseModel, ConfigDict, Field

from models.rank.ranker import RankerConfig


class PoolConfig(BaseModel):
    """How many contents each way of finding them proposes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    warm: int = Field(60, ge=1, description="Most readable now: readings of the last day by age.")
    new: int = Field(40, ge=1, description="Published last.")
    hour: int = Field(15, ge=0, description="Most read in the last hour.")
    days: int = Field(20, ge=0, description="Most read in the last three days.")
    taste: int = Field(20, ge=0, description="Read by groups of customers that read alike.")
    near: int = Field(20, ge=0, description="Nearest by text and taste in the vector index, of whatever age.")


class WeightConfig(BaseModel):
    """What else counts beside freshness, in natural logarithms of readings: 0.7 doubles a content's chances."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: float = Field(2.0, ge=0, description="Likeness of the text to what was read; only where nothing is learned.")
    taste: float = Field(2.0, ge=0, description="Share of readers of like taste; only where nothing is learned.")
    linked: float = Field(1.0, ge=0, description="Linked products the customer looks at; only where none is learned.")
    stage: float = Field(0.7, ge=0, description="Written for the customer's stage (less as much for another's).")
    live: float = Field(0.7, ge=0, description="A live stream that is on, or begins within a day.")


class ContentConfig(BaseModel):
    """Settings of `contents`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pool: PoolConfig = Field(default=PoolConfig(), description="How many contents come into question.")
    weights: WeightConfig = Field(default=WeightConfig(), description="What counts beside freshness.")
    ranker: RankerConfig = Field(
        default=RankerConfig(
            objectives=("lambdarank",), n_trees=200, n_leaves=31, learning_rate=0.06, min_rows_in_leaf=100,
            feature_share=0.6, row_share=0.8, max_questions=20_000,
        ),
        description="Settings of the learned order.",
    )  # fmt: skip
    cuts: int = Field(5, ge=2, le=20, description="Moments at which groups of readers are made anew to learn from.")
    first_cut: float = Field(0.3, gt=0, lt=1, description="Share of the readings before the first of them.")
    groups: int = Field(48, ge=0, le=1000, description="Most groups of like readers; fewer where customers are few.")
    taste_dim: int = Field(32, ge=1, le=256, description="Dimensions of a taste.")
    text_dim: int = Field(64, ge=1, le=1024, description="Dimensions of a text.")
