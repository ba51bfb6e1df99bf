"""Where notifications may go, what is seen of an address, and that nothing of it leaks."""

import logging
from ipaddress import ip_network

import pytest

from event_stream_engine.kernel.errors import Invalid, Unavailable
from event_stream_engine.notifications.addresses import is_allowed
from event_stream_engine.notifications.targets import check_target, hide_secrets, open_target, seal_target

PUBLIC = [
    "8.8.8.8",
    "1.1.1.1",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]
NOT_PUBLIC = [
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.1",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b:1::7f00:1",
    "100::1",
    "2001::7f00:1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:c0a8:101::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "localhost",
    "",
]
# The ways to write 127.0.0.1 that a resolver understands.
LOOPBACK = [
    "json://127.0.0.1/x",
    "json://localhost/x",
    "json://[::1]/x",
    "json://[::ffff:127.0.0.1]/x",
    "json://2130706433/x",
    "json://0x7f000001/x",
    "json://0177.0.0.1/x",
    "jsons://user:password@127.0.0.1:8443/x",
    "mailto://someone:password@example.com?smtp=127.0.0.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_allowed(address: str) -> None:
    assert is_allowed(address, [])


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    assert not is_allowed(address, [])


def test_network_that_a_setting_allows_is_allowed_in_every_form_and_no_other() -> None:
    private = [ip_network("10.1.0.0/16"), ip_network("fd00:1::/32")]
    assert is_allowed("10.1.2.3", private)
    assert is_allowed("::ffff:10.1.2.3", private)
    assert is_allowed("fd00:1::7", private)
    assert not is_allowed("10.2.0.1", private)
    assert not is_allowed("fd00:2::7", private)


@pytest.mark.parametrize("target", LOOPBACK)
async def test_target_that_leads_to_the_machine_itself_is_refused(target: str) -> None:
    with pytest.raises(Invalid, match=r"not a public address|Something is missing") as refused:
        await check_target("apprise", target, [])
    assert refused.value.field == "target"
    assert "password" not in str(refused.value)


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:9093", "http://[::1]:9093/am", "https://2130706433", "http://localhost"]
)
async def test_alertmanager_on_the_machine_itself_is_refused_unless_allowed(target: str) -> None:
    with pytest.raises(Invalid, match="not a public address"):
        await check_target("alertmanager", target, [])
    await check_target("alertmanager", target, [ip_network("127.0.0.0/8"), ip_network("::1")])


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("apprise", "nonsense", "needs a scheme"),
        ("apprise", "nope://s3cret-token", "no service 'nope'.*slack://"),
        ("apprise", "https://example.com/s3cret-token", "jsons://host/path"),
        ("apprise", "slack://s3cret", "Something is missing from this slack address"),
        ("apprise", "syslog://", "own machine"),
        ("apprise", "", "Give an address"),
        ("alertmanager", "alertmanager:9093", "https://alertmanager.example.com:9093"),
        ("alertmanager", "http://a:99999999", "https://alertmanager.example.com:9093"),
        ("pigeon", "json://example.com", "one of apprise, alertmanager"),
    ],
)
async def test_target_that_cannot_be_used_is_refused_with_an_example_and_without_its_secrets(
    kind: str, target: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(Invalid, match=said) as refused:
        await check_target(kind, target, [])
    assert "s3cret" not in str(refused.value) + caplog.text


@pytest.mark.parametrize(
    ("kind", "target", "shown"),
    [
        ("apprise", "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#oncall", "slack://…"),
        (
            "apprise",
            "jsons://user:password@127.0.0.1:8443/hooks/token?+X-Key=secret",
            "jsons://127.0.0.1:8443",
        ),
        ("alertmanager", "http://user:password@[::1]:9093/prefix", "http://[::1]:9093"),
    ],
)
async def test_shown_target_holds_no_secret(kind: str, target: str, shown: str) -> None:
    checked = await check_target(kind, target, [ip_network("127.0.0.0/8"), ip_network("::1")])
    assert checked.shown == shown


def test_sealed_target_is_opened_by_its_own_key_alone() -> None:
    sealed = seal_target("a key", "json://example.com/token")
    assert b"token" not in sealed
    assert open_target("a key", sealed) == "json://example.com/token"
    with pytest.raises(Unavailable, match="Enter the address"):
        open_target("another key", sealed)


def test_answer_that_repeats_the_address_is_told_on_without_its_secrets() -> None:
    target = "jsons://user:pass%20word@example.com:8443/hooks/T0K3N?+X-Key=secret"
    text = "example.com: POST /hooks/T0K3N with secret and pass word is unknown"
    hidden = hide_secrets(text, target)
    assert "example.com" in hidden
    for secret in ("T0K3N", "secret"):
        assert secret not in hidden
