import pytest

from event_stream_engine.web.pages.sign_in import START_PAGE, local_path


@pytest.mark.parametrize(
    "path", ["/", "/monitoring", "/monitoring?since=2026-03-02T00:00:00Z&campaign=ü", "/a//b"]
)
def test_a_path_of_this_engine_is_kept(path: str) -> None:
    assert local_path(path) == path


@pytest.mark.parametrize(
    "text",
    [
        "",
        "monitoring",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "https://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\nSet-Cookie: a=b",
        "/\x00/evil.example",
        " //evil.example",
        "/ /evil.example",
    ],
)
def test_a_way_to_another_site_becomes_the_start_page(text: str) -> None:
    assert local_path(text) == START_PAGE
