"""Column names and event kinds, spelled once (PRODUCT.md, "Words"; DESIGN §2)."""

from enum import IntEnum
from typing import Final

EVENT_ID: Final = "event_id"
CUSTOMER_ID: Final = "customer_id"
KIND: Final = "kind"
AT: Final = "at"
ITEM_KIND: Final = "item_kind"
ITEM_ID: Final = "item_id"
QUANTITY: Final = "quantity"
PRICE: Final = "price"
ORDER_ID: Final = "order_id"
CHANNEL: Final = "channel"
DECISION_ID: Final = "decision_id"
TOUCH_ID: Final = "touch_id"
POSITION: Final = "position"
VALUE: Final = "value"
PROPS: Final = "props"

PRODUCT_ID: Final = "product_id"
CONTENT_ID: Final = "content_id"
BUNDLE_ID: Final = "bundle_id"
CAMPAIGN_ID: Final = "campaign_id"
VALID_FROM: Final = "valid_from"


class EventKind(IntEnum):
    """What happened; the number is what arrays and files hold and never changes its meaning."""

    impression = 0
    view = 1
    click = 2
    cart = 3
    purchase = 4
    favorite = 5
    share = 6
    review = 7
    refund = 8
    dislike = 9
    sent = 10
    delivered = 11
    open = 12
    failed = 13
    unsubscribe = 14
    join_group = 15
    leave_group = 16
    done = 17
    skip = 18
    consent = 19


class ItemKind(IntEnum):
    """What may be recommended."""

    product = 0
    content = 1
    bundle = 2


EVENT_KINDS: Final = tuple(k.name for k in EventKind)
ITEM_KINDS: Final = tuple(k.name for k in ItemKind)
