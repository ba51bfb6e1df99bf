"""Reading a person's SQL: what is a name, a string, a comment, a parameter."""

import pytest

from event_stream_engine.workbench.statement import LONGEST_LETTERS, Refused, read_statement, word_place


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'pg_sleep(1)' AS words",
        "SELECT 1 -- pg_sleep(1); drop table users",
        "SELECT /* pg_sleep /* nested */ still */ 1",
        "SELECT $$pg_sleep('x')$$, $tag$ $$ ; $tag$",
        'SELECT \'it\'\'s; fine\', "a ""name""" FROM users',
        "(SELECT 1) UNION ALL (SELECT 2);",
        "  with a as (select 1) table a ; -- the end",
        "VALUES (1), (2)",
        "SELECT x::text, '{1,2,3}'::int[] FROM users ORDER BY random()",
        "SELECT pg_typeof(1), pg_catalog.pg_size_pretty(1::bigint)",
    ],
)
def test_what_only_looks_dangerous_is_read(sql: str) -> None:
    statement = read_statement(sql)
    assert "pg_sleep" not in statement.names


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT Pg_Sleep(1)", "pg_sleep is of the system"),
        ('SELECT 1 AS x, "pg_sleep"(1)', "pg_sleep is of the system"),
        ("SELECT 1 --\rpg_sleep(1)", "pg_sleep is of the system"),
        ("SELECT 'a'-- x\n'b', pg_sleep(1)", "pg_sleep is of the system"),
        ("SELECT /* /* */ */ pg_sleep(1)", "pg_sleep is of the system"),
        ("SELECT $a$x$a$, pg_sleep(1) --$a$", "pg_sleep is of the system"),
        ("SELECT a$b$, pg_sleep(1), c$b$", "pg_sleep is of the system"),
        ("SELECT 1pg_sleep(1)", "pg_sleep is of the system"),
        ("SELECT b'0'pg_sleep(1)", "pg_sleep is of the system"),
        ("SELECT e'\\''", "with escapes"),
        ("SELECT u&'x'", "with escapes"),
        ("SELECT /* open", "comment has no end"),
        ("SELECT 'open", "quotation mark has no end"),
        ('SELECT "open', "quotation mark has no end"),
        ("SELECT $1", "as :name"),
        ("SELECT $:a ( $:a) AS q, more", "belongs to nothing"),
        ("SELECT (1", "not closed"),
        ("SELECT 1)", "closes none"),
        ("SELECT 1;;", "One statement at a time"),
        ("SELECT '\0'", "NUL"),
        (f"SELECT '{'x' * LONGEST_LETTERS}'", "At most"),
        ("", "no query here"),
        ("refresh materialized view x", "begins with refresh"),
    ],
)
def test_what_is_dangerous_is_found_however_it_is_written(sql: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        read_statement(sql)


def test_parameters_stand_for_values_outside_of_strings_and_comments() -> None:
    sql = "SELECT :a, ':b', x::date, \":c\", :a + :longer -- :d\nFROM t"
    statement = read_statement(sql)
    assert statement.parameters == ("a", "longer")
    assert statement.text == "SELECT $1, ':b', x::date, \":c\", $1 + $2 -- :d\nFROM t"


def test_literals_are_written_in_where_parameters_stand() -> None:
    sql = "SELECT :a, ':a', :b + wrong, :a -- :b"
    statement = read_statement(sql).write_in([" ('it''s :b'::text) ", " ('1'::int) "])
    assert (
        statement.text
        == "SELECT  ('it''s :b'::text) , ':a',  ('1'::int)  + wrong,  ('it''s :b'::text)  -- :b"
    )
    assert statement.find_place(statement.text.index("wrong")) == sql.index("wrong")


def test_a_place_is_said_by_line_and_column() -> None:
    assert [word_place("ab\ncd", place) for place in (0, 2, 3, 5)] == [
        "Line 1, column 1",
        "Line 1, column 3",
        "Line 2, column 1",
        "Line 2, column 3",
    ]


def test_a_place_in_what_was_sent_is_found_in_what_was_written() -> None:
    sql = "SELECT :long_name, first, :a, second FROM t"
    statement = read_statement(sql)
    for word in ("SELECT", "first", "second", "FROM"):
        assert statement.find_place(statement.text.index(word)) == sql.index(word)
