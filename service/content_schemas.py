"""What is asked of contents over HTTP."""

from pydantic import ConfigDict, Field

from service.schemas import K_LIMIT, LIST_LIMIT, Context, Id, Wire


class ContentRequest(Wire):
    """Which contents one customer should see now."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"customer_id": "wx-7f3a", "k": 5},
                {
                    "customer_id": "wx-7f3a", "k": 3, "context": {"channel": "mini-program"},
                    "forms": ["article", "live"], "exclude": ["c-9"],
                },
            ]
        }
    )  # fmt: skip

    customer_id: Id = Field(description="The shop's id of the customer; unknown ids are strangers, not errors.")
    k: int = Field(10, ge=1, le=K_LIMIT, description="Places wanted; the service's own limit may be lower.")
    context: Context = Field(Context(), description="Channel, and which products were just looked at.")
    forms: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Only these forms: article, short_video, live, podcast …; empty: all."
    )
    exclude: list[Id] = Field([], max_length=LIST_LIMIT, description="Content ids never to be shown.")
    pins: list[Id] = Field(
        [], max_length=LIST_LIMIT, description="Content ids that come first, in this order, where they may be shown."
    )
    again: bool = Field(default=False, description="Whether what the customer has read may come again.")
