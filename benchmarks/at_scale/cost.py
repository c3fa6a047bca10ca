"""Sections of the page about memory and the rate of operations."""

from __future__ import annotations

from reporting import Figures, number, table, verdict

Rows = dict[str, Figures]

MEMORY_BAR = 1.1
EFFICIENCY_BAR = 0.5


def memory_section(rows: Rows) -> list[str]:
    """Hold the memory of preconditioners against ``8 n k`` bytes and one array of work."""
    lines = []
    for name, row in rows.items():
        for build in row["builds"]:
            factor = 8 * build["size"] * build["rank"]
            allowed = factor + work_bytes(build)
            ratio = build["peak_bytes"] / allowed
            lines.append(
                [
                    name,
                    build["description"],
                    build["size"],
                    build["rank"],
                    *(number(size / 1e6) for size in (factor, work_bytes(build))),
                    number(build["block_bytes"] / 1e6),
                    *(number(build[key] / 1e6) for key in ("kept_bytes", "peak_bytes")),
                    number(ratio),
                    f"{MEMORY_BAR:g}: {verdict(ratio <= MEMORY_BAR)}",
                ]
            )
    header = (
        *("row", "preconditioner", "n", "k", "8 n k, MB", "work array, MB"),
        "blocks, MB",
        *("kept, MB", "peak while built, MB", "peak / (8 n k + work)", "bar"),
    )
    return ["## Memory of the preconditioner", "", table(header, lines), MEMORY_NOTES]


def work_bytes(build: Figures) -> int:
    """Return the size of one array of work: some columns, as the solver reserves them."""
    return 8 * build["size"] * min(WORK_COLUMNS, build["rank"])


WORK_COLUMNS = 256

MEMORY_NOTES = f"""\
The peak is the growth of the resident memory of the process while the preconditioner is built, by
the kernel's own high-water mark, so it contains everything: scratch, thread buffers, fragmentation.
The work array has {WORK_COLUMNS} columns. Blocks of whole geometries, where the preconditioner
has them, come on top and are not part of what the bar allows. *n* counts the labels without rigid
motions.
"""


def product_section(rows: Rows) -> list[str]:
    """Hold the rate of the products with the kernel matrix against the peak of the device."""
    lines = []
    for name, row in rows.items():
        for columns, seconds in row["seconds"].items():
            rate = int(columns) * row["flops"] / seconds
            share = rate / row["peak_flops"]
            lines.append(
                [
                    name,
                    row["device_name"],
                    row["size"],
                    columns,
                    number(seconds * 1e3),
                    number(row["factor_bytes"] / 1e9),
                    number(rate / 1e12),
                    number(row["peak_flops"] / 1e12),
                    f"{share:.0%}",
                    f"{EFFICIENCY_BAR:.0%}: {verdict(share >= EFFICIENCY_BAR)}",
                ]
            )
    header = (
        *("row", "device", "n", "vectors", "ms a product", "factors kept, GB"),
        *("Tflop/s", "peak, Tflop/s", "share", "bar"),
    )
    return ["## Products with the kernel matrix", "", table(header, lines), PRODUCT_NOTES]


PRODUCT_NOTES = """\
Counted are the operations of the three matrix products that a product takes once the radial factors
are kept, features that permutations do not tell apart counted once; the peak is that of a square
float64 matrix product in the same process.
"""
