"""``cellzoo join``: the tables of all shards of a count become the table of the whole."""

import csv
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from cellzoo.commands.count import HEADER, CountRow, Tally
from cellzoo.commands.shards import COLUMN, Mark
from cellzoo.errors import UsageError, UserError
from cellzoo.files import check_new_file, rename_new, temporary_beside


def join(tables: Sequence[Path], out: Path) -> Tally:
    """Writes the tables of all shards as the one that a single count would have written.

    Args:
        tables: of the shards, in any order.
        out: CSV to write. It appears when it is complete.

    Returns:
        What it holds.

    Raises:
        UserError: ``out`` exists, or the tables are not one count: shards or files are missing or
            there twice, or models, options or images differ.
    """
    check_new_file(out)
    marked = [(_mark_of(table), table) for table in tables]
    marked.sort(key=lambda part: part[0].shard.number)
    _check_one_count(marked)
    tally, seen = Tally(), set()
    temporary = temporary_beside(out)
    try:
        with temporary.open("w", encoding="utf-8", newline="") as opened:
            writer = csv.writer(opened)
            writer.writerow(HEADER)
            for mark, table in marked:
                before = len(seen)
                last = None
                for cells in _rows(table):
                    if cells[-1] != str(mark):
                        raise UserError(
                            f"{table} was cut, or has rows of another shard: count it again."
                        )
                    row = CountRow(*cells[:-1])
                    if row.image != last and row.image in seen:
                        raise UserError(f"{row.image} is in the tables twice: count them again.")
                    seen.add(last := row.image)
                    tally.add(row)
                    writer.writerow(cells[:-1])
                part = mark.shard.slice(mark.files)
                there, wanted = len(seen) - before, part.stop - part.start
                if there != wanted:
                    raise UserError(
                        f"{table} has {there:,} of its {wanted:,} files: let the same count go on "
                        "with --resume, or copy the table again."
                    )
        rename_new(temporary, out)
    except FileExistsError:
        raise UserError(f"{out} came to be meanwhile: choose another name for -o.") from None
    finally:
        temporary.unlink(missing_ok=True)
    return tally


def _check_one_count(marked: Sequence[tuple[Mark, Path]]) -> None:
    """That the tables, sorted by shard, are those of all shards of one count."""
    (first, first_table), *others = marked
    for mark, table in others:
        both = f"{first_table} and {table}"
        if mark.shard.of != first.shard.of:
            raise UserError(
                f"{both} are of {first.shard.of} and {mark.shard.of} shards: join those of one "
                "count."
            )
        if (mark.files, mark.names) != (first.files, first.names):
            raise UserError(
                f"{both} are shards of other images: every job must be given the same, and none "
                "may come while they count."
            )
        if mark.made_with != first.made_with:
            models = [_model_of(t) for t in (first_table, table)]
            what = "other weights or options, or another table of chambers"
            if models[0] != models[1]:
                what = f"{models[0]} and {models[1]}"
            raise UserError(f"{both} were counted with {what}: count one of them again.")
    for (one, table), (other, other_table) in pairwise(marked):
        if one.shard == other.shard:
            raise UserError(
                f"{table} and {other_table} are both shard {one.shard}: leave one of them out."
            )
    there = {mark.shard.number for mark, _ in marked}
    missing = [number for number in range(1, first.shard.of + 1) if number not in there]
    if missing:
        shown = ", ".join(f"{number}/{first.shard.of}" for number in missing[:5])
        more = f" and {len(missing) - 5} others" if len(missing) > 5 else ""
        raise UserError(
            f"The table of shard {shown}{more} is missing: count it, or name its table too."
        )


def _mark_of(table: Path) -> Mark:
    """The mark of a table's first row."""
    if table.name.endswith(".part.csv"):
        raise UserError(f"{table} is not complete: let the same count go on with --resume.")
    first = next(_rows(table), None)
    found = None
    try:
        found = first and Mark.parse(first[-1])
    except UsageError:  # no part of a whole
        pass
    if not found:
        raise UserError(f"{table} has no row of cellzoo count --shard: name tables that have.")
    return found


def _model_of(table: Path) -> str:
    row = CountRow(*next(_rows(table))[:-1])
    return f"{row.model}, version {row.version}"


def _rows(table: Path) -> Iterator[list[str]]:
    """The rows of a shard's table, as many cells each as it has columns."""
    header = [*HEADER, COLUMN]
    try:
        with table.open(encoding="utf-8", newline="") as opened:
            reader = csv.reader(opened, strict=True)
            if next(reader, None) != header:
                raise UserError(f"{table} is no table of cellzoo count --shard: leave it out.")
            for cells in reader:
                if len(cells) != len(header):
                    raise UserError(
                        f"{table}: line {reader.line_num} is not whole: copy the table again."
                    )
                yield cells
    except OSError as error:
        raise UserError(f"{table} cannot be read ({error.strerror}): check its path.") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{table} is damaged ({error}): copy it again.") from None
