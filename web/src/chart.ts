import { freshId, h, svg } from "./dom";

const kWidth = 300;
const kHeight = 90;
const kPad = 4;

/** One value over time: the present figure in words and the course of the last `capacity` readings as a line. */
export class Chart {
  readonly element: HTMLElement;
  private readonly values: (number | null)[] = [];
  private readonly figure = h("output", { class: "figure" }, "–");
  private readonly line = svg("path", { class: "line" });
  private readonly area = svg("path", { class: "area" });
  private readonly top = svg("text", { class: "scale", x: kPad, y: 12 });

  constructor(
    title: string,
    private readonly format: (value: number) => string,
    private readonly capacity: number,
    private readonly ceiling: number | null = null,
  ) {
    const id = freshId("chart");
    this.element = h(
      "section",
      { class: "chart", "aria-labelledby": id },
      h("h2", { id }, title),
      this.figure,
      svg(
        "svg",
        { viewBox: `0 0 ${kWidth} ${kHeight}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
        this.area,
        this.line,
      ),
      svg("svg", { class: "overlay", viewBox: `0 0 ${kWidth} ${kHeight}`, "aria-hidden": "true" }, this.top),
    );
  }

  push(value: number | null): void {
    this.values.push(value);
    if (this.values.length > this.capacity) this.values.shift();
    this.figure.textContent = value === null ? "–" : this.format(value);
    this.draw();
  }

  private draw(): void {
    const known = this.values.filter((value) => value !== null);
    const highest = this.ceiling ?? Math.max(1e-9, ...known);
    const x = (i: number): number => kWidth - ((this.values.length - 1 - i) * kWidth) / (this.capacity - 1);
    const y = (value: number): number => kHeight - kPad - (value / highest) * (kHeight - 4 * kPad);
    let line = "";
    let area = "";
    let start: number | null = null;
    this.values.forEach((value, i) => {
      if (value !== null) {
        const point = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`;
        line += `${start === null ? "M" : "L"}${point}`;
        area += start === null ? `M${x(i).toFixed(1)} ${kHeight}L${point}` : `L${point}`;
        start ??= i;
      }
      if (start !== null && (value === null || i === this.values.length - 1)) {
        area += `L${x(value === null ? i - 1 : i).toFixed(1)} ${kHeight}Z`;
        start = null;
      }
    });
    this.line.setAttribute("d", line);
    this.area.setAttribute("d", area);
    this.top.textContent = known.length === 0 ? "" : this.format(highest);
  }
}
