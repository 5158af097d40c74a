import { readMetrics } from "./api";
import { Chart } from "./chart";
import { h } from "./dom";
import { parseMetrics, quantile, total, type Sample } from "./prometheus";

const kPeriodMs = 1000;
const kReadings = 120;

const whole = (value: number): string => value.toFixed(0);
const rate = (value: number): string => `${value >= 100 ? value.toFixed(0) : value.toFixed(1)} /s`;
const percent = (value: number): string => `${(100 * value).toFixed(1)} %`;
const milliseconds = (seconds: number): string => `${(1000 * seconds).toFixed(1)} ms`;

type Reading = { samples: Sample[]; at: number };

interface Panel {
  chart: Chart;
  /** The value now, or null when the server does not say. `seconds` passed since `before`. */
  value(now: Sample[], before: Sample[] | null, seconds: number): number | null;
}

function gauge(title: string, name: string, format: (value: number) => string, ceiling: number | null = null): Panel {
  return { chart: new Chart(title, format, kReadings, ceiling), value: (now) => total(now, name) };
}

function perSecond(title: string, name: string): Panel {
  return {
    chart: new Chart(title, rate, kReadings),
    value: (now, before, seconds) => {
      const [new_, old] = [total(now, name), before && total(before, name)];
      // A counter that fell belongs to a server that was started again.
      return new_ === null || old === null || new_ < old ? null : (new_ - old) / seconds;
    },
  };
}

function median(title: string, name: string): Panel {
  return {
    chart: new Chart(title, milliseconds, kReadings),
    value: (now, before) => (before === null ? null : quantile(before, now, name, 0.5)),
  };
}

/** The second tab: what the engine is doing, read from /metrics once a second while it is shown. */
export class StateView {
  readonly element: HTMLElement;
  private readonly panels: Panel[] = [
    gauge("Requests running", "vllm:num_requests_running", whole),
    gauge("Requests waiting", "vllm:num_requests_waiting", whole),
    gauge("Cache in use", "vllm:kv_cache_usage_perc", percent, 1),
    perSecond("Tokens generated", "vllm:generation_tokens_total"),
    perSecond("Prompt tokens", "vllm:prompt_tokens_total"),
    median("Time to first token, median", "vllm:time_to_first_token_seconds"),
  ];
  private readonly totals = h("p", { class: "totals" });
  private readonly notice = h("p", { class: "notice error", role: "alert" });
  private timer = 0;
  private controller = new AbortController();
  private last: Reading | null = null;

  constructor() {
    this.element = h(
      "section",
      { class: "state", "aria-label": "Engine", tabindex: 0 }, // it scrolls, also by keyboard
      h("div", { class: "charts" }, ...this.panels.map(({ chart }) => chart.element)),
      this.totals,
      h("p", { class: "totals" }, `The charts show the last ${(kReadings * kPeriodMs) / 60_000} minutes, a reading a second.`),
      this.notice,
    );
    document.addEventListener("visibilitychange", () => this.schedule());
  }

  private shown = false;
  setShown(shown: boolean): void {
    this.shown = shown;
    this.schedule();
  }

  private schedule(): void {
    window.clearTimeout(this.timer);
    this.controller.abort();
    if (this.shown && !document.hidden) void this.read();
  }

  private async read(): Promise<void> {
    const controller = (this.controller = new AbortController());
    try {
      const samples = parseMetrics(await readMetrics(controller.signal));
      if (controller.signal.aborted) return;
      this.take({ samples, at: performance.now() });
      this.notice.textContent = "";
    } catch (error) {
      if (controller.signal.aborted) return;
      for (const { chart } of this.panels) chart.push(null);
      this.last = null;
      this.notice.textContent = error instanceof Error ? error.message : "The metrics could not be read.";
    }
    this.timer = window.setTimeout(() => void this.read(), kPeriodMs);
  }

  private take(now: Reading): void {
    const before = this.last;
    const seconds = before === null ? 0 : (now.at - before.at) / 1000;
    for (const { chart, value } of this.panels) chart.push(value(now.samples, before?.samples ?? null, seconds));
    this.last = now;
    const parts: string[] = [];
    const add = (label: string, ...names: string[]): void => {
      const value = total(now.samples, ...names);
      if (value !== null) parts.push(`${label} ${value.toLocaleString("en")}`);
    };
    add("Requests finished", "vllm:request_success_total");
    add("tokens generated", "vllm:generation_tokens_total");
    add("prompt tokens", "vllm:prompt_tokens_total");
    add("of them from the cache", "vllm:prefix_cache_hits_total", "vllm:prefix_cache_hits");
    add("preemptions", "vllm:num_preemptions_total");
    this.totals.textContent = parts.join(" · ");
  }
}
