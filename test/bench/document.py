"""Tables of measured figures, and their places in a document."""


def table(head, rows):
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, ["---"] * len(head), *rows))


def update(path, begin, text, end="<!-- end -->\n"):
    """Puts the text between two marks."""
    with open(path, encoding="utf-8") as f:
        before, _, rest = f.read().partition(begin)
    assert end in rest, f"{path}: no {begin!r} ... {end!r}"
    with open(path, "w", encoding="utf-8") as f:
        f.write(before + begin + text + end + rest.partition(end)[2])
