"""report.md and the plots that every application has; its own plots come from its evaluate stage."""

import warnings
from pathlib import Path

from .files import replacing, write_text


def table(header: list[str], rows: list[list]) -> str:
    """A Markdown table."""
    lines = [" | ".join(header), " | ".join("---" for _ in header), *(" | ".join(map(str, row)) for row in rows)]
    return "\n".join(f"| {line} |" for line in lines)


def metrics_table(metrics: dict) -> str:
    """The model and each baseline, a column per metric, on the same split."""
    named = {"model": metrics["model"], **metrics.get("baselines", {})}
    if "sampled" in metrics:  # the windows on which slow baselines were fitted
        named["model, sampled"] = metrics["sampled"]["model"]
    columns = [name for name, value in metrics["model"].items() if isinstance(value, int | float)]
    rows = [[name, *(_number(values.get(c)) for c in columns)] for name, values in named.items()]
    return table(["", *columns], rows)


def _number(value) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else ""


def write_report(app, run, *, parity: dict | None = None, latency: list[dict] | None = None) -> None:
    """Writes report.md from what the run directory holds."""
    metrics = run.metrics
    sizes = ", ".join(f"{name} {count:,}" for name, count in metrics["sizes"].items())
    seconds = ", ".join(f"{name} {value:.0f} s" for name, value in metrics["seconds"].items())
    parts = [
        f"# elman {app.name}: report",
        f"Data: {metrics['data']}  \nSplits: {sizes}  \nSeed {metrics['seed']}; {seconds}; {metrics['machine']}",
        f"## Scores on the test split\n{metrics_table(metrics)}",
        "\n".join(f"- {note}" for note in metrics.get("notes", [])),
        f"## Training\nBest epoch {metrics['best_epoch']} of {metrics['epochs']}: {metrics['stopped']}.",
    ]
    parts += [f"![{p.stem}](plots/{p.name})" for p in sorted((run.path / "plots").glob("*.png"))]
    if parity:
        found = parity["quantisation"]
        parts.append(f"## Exports\n{_parity_table(parity)}\n\nRecommended for a device: **{found['recommended']}**.")
        parts.append("\n".join(f"- {note}" for note in found.get("notes", [])))
    if latency:
        parts.append("## Latency, one thread, one row\n" + latency_table(latency))
    write_text(run.path / "report.md", "\n\n".join(p for p in parts if p) + "\n")


def _parity_table(parity: dict) -> str:
    quantisation = parity["quantisation"]
    rows = []
    for name, signatures in parity["containers"].items():
        row = quantisation["engines"].get(name, {})
        worst = max(s["max_relative"] for s in signatures.values())
        size = f"{row['bytes'] / 1e3:,.0f} kB" if row else ""
        change = f"{100 * row['change']:+.2f} %" if row else ""
        rows.append([name, f"{worst:.1e}", size, _number(row.get("metric")), change])
    return table(["container", "max difference", "size", quantisation["metric"], "change"], rows)


_LATENCY = (
    ("engine", lambda r: r["engine"]),
    ("threads", lambda r: r.get("threads") or ""),
    ("median ms", lambda r: f"{r['median_ms']:.3f}"),
    ("p95 ms", lambda r: f"{r['p95_ms']:.3f}"),
    ("limit ms", lambda r: f"{r['limit_ms']:.3f}" if "limit_ms" in r else ""),
    ("file kB", lambda r: f"{r['bytes'] / 1e3:,.0f}" if "bytes" in r else ""),
    ("peak MB", lambda r: f"{r['peak_mb']:.0f}" if "peak_mb" in r else ""),
)


def latency_table(rows: list[dict]) -> str:
    """Rows of `benchmark.measure` as Markdown; columns that nothing was measured for are left out."""
    columns = [("signature", lambda r: r["signature"]), *_LATENCY]
    cells = [[str(cell(r)) for _, cell in columns] for r in rows]
    shown = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    return table([columns[i][0] for i in shown], [[row[i] for i in shown] for row in cells])


def latency_text(rows: list[dict]) -> str:
    """Rows of `benchmark.measure` for a terminal of 80 columns, a block for each signature."""
    blocks = []
    for signature in dict.fromkeys(r["signature"] for r in rows):
        cells = [[name for name, _ in _LATENCY]]
        cells += [[str(cell(r)) for _, cell in _LATENCY] for r in rows if r["signature"] == signature]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            for row in cells
        ]
        blocks.append("\n".join([f"{signature}:", *(f" {line}".rstrip() for line in lines)]))
    return "\n\n".join(blocks)


def plot_history(history: list[dict], directory: Path) -> None:
    """Training and validation loss over the epochs."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 3.2), layout="constrained")
    axes = figure.add_subplot()
    epochs = [row["epoch"] for row in history]
    for key, label in (("loss", "training"), ("val_loss", "validation")):
        axes.plot(epochs, [row[key] for row in history], marker=".", label=label)
    best = min(history, key=lambda row: row["val_loss"])["epoch"]
    axes.axvline(best, color="grey", linewidth=0.8, linestyle=":", label=f"best, epoch {best}")
    axes.set(xlabel="epoch", ylabel="loss", title="Learning curve")
    axes.legend(frameon=False)
    save_figure(figure, directory / "history.png")


def save_figure(figure, path: Path) -> None:
    """Writes a figure as PNG, whole or not at all."""
    with replacing(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # names of series in a script that the font lacks
        figure.savefig(temporary, dpi=110, format="png")
