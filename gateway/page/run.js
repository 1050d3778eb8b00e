// An amplification run as points to draw. Invariant: a point's value is the received one, and a stored sample and the same
// sample heard live are one point.

// The stored run (`GET /api/tests/{id}`, `data`), then what the stream adds to it (a delta has its offsets).
export class Run {
  constructor(data) {
    this.temperatures = [...(data?.temperatureSamples ?? [])];
    this.samples = [...(data?.samples ?? [])];
  }

  // Whether it follows without a hole, in the array and in its rounds; if not, the whole is fetched again.
  add(delta) {
    const temperatures = delta.temperatureSamples ?? [];
    const samples = delta.samples ?? [];
    if (delta.temperatures_from > this.temperatures.length || delta.samples_from > this.samples.length) return false;
    this.temperatures.splice(delta.temperatures_from, temperatures.length, ...temperatures);
    const rounds = (samples) => samples.map((sample) => sample.currentDataIndex).filter(Number.isFinite);
    const last = Math.max(-1, ...rounds(this.samples));
    this.samples.splice(delta.samples_from, samples.length, ...samples);
    const fresh = rounds(samples);
    return !fresh.length || Math.min(...fresh) <= last + 1;
  }

  // Channel by channel: its points `{seconds, value, round}` in the order of time. `samplingTime` counts tenths of a second.
  channels() {
    const channels = new Map();
    for (const sample of this.samples) {
      const { startingChannel: channel, samplingTime, firstChannelResult: value, currentDataIndex: round } = sample;
      if (![channel, samplingTime, value].every(Number.isFinite)) continue;
      if (!channels.has(channel)) channels.set(channel, []);
      channels.get(channel).push({ seconds: samplingTime / 10, value, round });
    }
    for (const points of channels.values()) points.sort((one, other) => one.seconds - other.seconds);
    return new Map([...channels].sort(([one], [other]) => one - other));
  }

  // The temperature, in seconds since its first sample.
  warmth() {
    const read = this.temperatures.map(({ time, temp }) => ({ at: Date.parse(time), value: temp }));
    const good = read.filter(({ at, value }) => Number.isFinite(at) && Number.isFinite(value));
    return good.map(({ at, value }) => ({ seconds: (at - good[0].at) / 1000, value }));
  }
}

// The point that is nearest in time.
export function nearest(points, seconds) {
  let low = 0;
  let high = points.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle].seconds < seconds) low = middle;
    else high = middle;
  }
  const [one, other] = [points[low], points[high]];
  return !one || Math.abs(one.seconds - seconds) <= Math.abs(other.seconds - seconds) ? one : other;
}

// At most `most` points that keep each stretch's lowest and highest.
export function thinned(points, most) {
  if (points.length <= most) return points;
  const size = Math.ceil((points.length * 2) / most);
  const kept = [];
  for (let from = 0; from < points.length; from += size) {
    const stretch = points.slice(from, from + size);
    const by = (better) => stretch.reduce((best, point) => (better(point.value, best.value) ? point : best));
    const ends = [by((a, b) => a < b), by((a, b) => a > b)].sort((a, b) => a.seconds - b.seconds);
    kept.push(...new Set(ends));
  }
  return kept;
}

// Round marks for an axis from `low` to `high`, about `count` of them.
export function marks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((times) => times * power).find((step) => step >= rough);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.max(0, Math.floor(high / step + 1e-9) - first + 1) }, (_, at) => Number(((first + at) * step).toPrecision(12)));
}
