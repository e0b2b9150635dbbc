// Bars as SVG, readable on light and on dark ground, with every value written beside its bar.

export interface Bar {
  label: string;
  value: number;
  /** Least and most of the rounds. */
  low?: number;
  high?: number;
  /** Drawn in the colour of what the page is about. */
  ours: boolean;
}

const WIDTH = 800;
const LABELS = 320; // x where bars begin
const LONGEST = 320; // of a bar
const STEP = 30;
const TOP = 44;

/** Colours are those of the reader's ground; text is text, so that it can be found and read aloud. */
const STYLE = `text{font:13px sans-serif;fill:#1f2328}.title{font-weight:bold}.bar{fill:#8c959f}.ours{fill:#0969da}.whisker{stroke:#1f2328;stroke-width:1.5}
@media (prefers-color-scheme:dark){text{fill:#e6edf3}.bar{fill:#6e7681}.ours{fill:#4493f8}.whisker{stroke:#e6edf3}}`;

/** `bars`: at least one; none is negative. */
export function barChart(title: string, unit: string, bars: readonly Bar[]): string {
  const most = Math.max(...bars.map(({ value, high = value }) => Math.max(value, high)));
  const scale = most > 0 ? LONGEST / most : 0;
  const height = TOP + bars.length * STEP + 8;
  const spoken = bars.map(({ label, value }) => `${label}: ${grouped(value)} ${unit}`).join('; ');
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">
<title>${escaped(title)}</title>
<desc>${escaped(spoken)}</desc>
<style>${STYLE}</style>
<text class="title" x="8" y="24">${escaped(title)}, ${escaped(unit)}</text>
${bars.map((bar, index) => drawn(bar, TOP + index * STEP, scale)).join('\n')}
</svg>
`;
}

function drawn({ label, value, low, high, ours }: Bar, y: number, scale: number): string {
  const width = value * scale;
  const end = LABELS + Math.max(width, (high ?? 0) * scale);
  return [
    `<text x="${LABELS - 8}" y="${y + 15}" text-anchor="end">${escaped(label)}</text>`,
    `<rect class="bar${ours ? ' ours' : ''}" x="${LABELS}" y="${y}" width="${fixed(width)}" height="20"/>`,
    ...(low === undefined || high === undefined ? [] : [whisker(low * scale, high * scale, y + 10)]),
    `<text x="${fixed(end + 8)}" y="${y + 15}">${grouped(value)}</text>`,
  ].join('');
}

function whisker(from: number, to: number, y: number): string {
  return `<line class="whisker" x1="${fixed(LABELS + from)}" x2="${fixed(LABELS + to)}" y1="${y}" y2="${y}"/>`;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function grouped(value: number): string {
  return value < 100 ? String(Number(value.toPrecision(3))) : Math.round(value).toLocaleString('en');
}

function escaped(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}
