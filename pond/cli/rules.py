"""The operators' rules, for commands that answer as the service would."""

from typing import TYPE_CHECKING

from pond.cli.audit import opened_control
from pond.cli.session import Session

if TYPE_CHECKING:
    from models.rules import RuleBook


def rules_of(session: Session, shop: str) -> "RuleBook":
    """Return a shop's rules; a home that no service or key was made in has none."""
    from models.rules import NO_RULES
    from service.rules import RuleStore
    from service.settings import ServiceSettings

    settings = ServiceSettings.of(session.environ, home=session.home)
    if settings.control_url is None and not (settings.home / "control.db").exists():
        return NO_RULES
    with opened_control(session) as control:
        return RuleStore(control.engine).book(shop)
