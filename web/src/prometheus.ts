export interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

const kLine = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)/;
const kLabel = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"/g;

/** Prometheus' text format; lines that are no samples are passed over. */
export function parseMetrics(text: string): Sample[] {
  const samples: Sample[] = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("#")) continue;
    const match = kLine.exec(line);
    if (match === null) continue;
    const labels: Record<string, string> = {};
    for (const [, key, value] of (match[2] ?? "").matchAll(kLabel)) labels[key as string] = value as string;
    const number = match[3] === "+Inf" ? Infinity : Number(match[3]);
    if (!Number.isNaN(number)) samples.push({ name: match[1] as string, labels, value: number });
  }
  return samples;
}

/** The sum over all engines of the first name that the server has; null when it has none. */
export function total(samples: Sample[], ...names: string[]): number | null {
  for (const name of names) {
    const found = samples.filter((sample) => sample.name === name);
    if (found.length > 0) return found.reduce((sum, sample) => sum + sample.value, 0);
  }
  return null;
}

/** The quantile `q` of what a histogram counted between two readings, interpolated as Prometheus does; null for none. */
export function quantile(before: Sample[], now: Sample[], name: string, q: number): number | null {
  const counts = (samples: Sample[]): Map<number, number> => {
    const buckets = new Map<number, number>();
    for (const { name: sample, labels, value } of samples) {
      if (sample !== `${name}_bucket` || labels.le === undefined) continue;
      const bound = labels.le === "+Inf" ? Infinity : Number(labels.le);
      buckets.set(bound, (buckets.get(bound) ?? 0) + value);
    }
    return buckets;
  };
  const old = counts(before);
  const buckets = [...counts(now)].map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)] as const);
  buckets.sort((a, b) => a[0] - b[0]);
  const all = buckets.at(-1)?.[1] ?? 0;
  if (all <= 0) return null;
  let low = 0;
  let below = 0;
  for (const [bound, count] of buckets) {
    if (count >= q * all) {
      if (bound === Infinity) return low;
      return low + (bound - low) * (count === below ? 1 : (q * all - below) / (count - below));
    }
    low = bound;
    below = count;
  }
  return low;
}
