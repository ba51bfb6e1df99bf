import pytest

from event_stream_engine.access.roles import Role, require
from event_stream_engine.kernel.errors import Denied


def test_roles_are_ordered_from_metrics_to_admin() -> None:
    assert sorted([Role.admin, Role.viewer, Role.metrics, Role.operator]) == list(Role)


@pytest.mark.parametrize(
    ("role", "needed", "passes"),
    [
        (Role.metrics, Role.metrics, True),
        (Role.metrics, Role.viewer, False),
        (Role.viewer, Role.metrics, True),
        (Role.viewer, Role.viewer, True),
        (Role.viewer, Role.operator, False),
        (Role.viewer, Role.admin, False),
        (Role.operator, Role.viewer, True),
        (Role.operator, Role.operator, True),
        (Role.operator, Role.admin, False),
        (Role.admin, Role.viewer, True),
        (Role.admin, Role.operator, True),
        (Role.admin, Role.admin, True),
    ],
)
def test_a_role_may_do_what_it_and_lesser_roles_may(role: Role, needed: Role, passes: bool) -> None:
    if passes:
        require(role, needed)
    else:
        with pytest.raises(Denied, match=f"needs the role {needed.value}, yours is {role.value}"):
            require(role, needed)
