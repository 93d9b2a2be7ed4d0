// Where everything in the gallery is, from the counts of its sections alone.
// No offset is ever asked of the server: a section and a position in it name an image.

export interface Section {
  readonly key: string;
  readonly count: number;
}

export interface Place {
  readonly section: number;
  readonly index: number;
}

interface Span extends Section {
  readonly top: number;
  readonly first: number;
  readonly rows: number;
}

export const HEADER = 44;
export const GAP = 6;
// Firefox cuts elements at 17.9 million pixels, Chromium at 33.5.
const TALLEST = 8_000_000;

export class Layout {
  readonly columns: number;
  readonly side: number;
  readonly total: number;
  readonly height: number;
  readonly scrollHeight: number;
  readonly spans: readonly Span[];

  constructor(sections: readonly Section[], width: number, wanted: number) {
    this.columns = Math.max(2, Math.round((width + GAP) / (wanted + GAP)));
    this.side = (width + GAP) / this.columns - GAP;
    const spans: Span[] = [];
    let top = 0;
    let first = 0;
    for (const section of sections) {
      const rows = Math.ceil(section.count / this.columns);
      spans.push({ key: section.key, count: section.count, top, first, rows });
      top += HEADER + rows * this.pitch;
      first += section.count;
    }
    this.spans = spans;
    this.total = first;
    this.height = top;
    this.scrollHeight = Math.min(top, TALLEST);
  }

  get pitch(): number {
    return this.side + GAP;
  }

  /** The section at a height. */
  sectionAt(y: number): number {
    return lastWhere(this.spans, (span) => span.top <= y);
  }

  /** The place of the n-th image of all. */
  placeOf(ordinal: number): Place {
    const section = lastWhere(this.spans, (span) => span.first <= ordinal);
    return { section, index: ordinal - (this.spans[section]?.first ?? 0) };
  }

  ordinalOf(place: Place): number {
    return (this.spans[place.section]?.first ?? 0) + place.index;
  }

  boxOf(place: Place): { x: number; y: number } {
    const row = Math.floor(place.index / this.columns);
    return {
      x: (place.index % this.columns) * this.pitch,
      y: (this.spans[place.section]?.top ?? 0) + HEADER + row * this.pitch,
    };
  }

  /** The images between two heights, section by section. */
  *between(from: number, to: number): Generator<{ section: number; start: number; end: number }> {
    for (let at = this.sectionAt(from); at < this.spans.length; at += 1) {
      const span = this.spans[at]!;
      if (span.top >= to) return;
      const body = span.top + HEADER;
      const firstRow = clamp(Math.floor((from - body) / this.pitch), 0, span.rows);
      const lastRow = clamp(Math.ceil((to - body) / this.pitch), 0, span.rows);
      const end = Math.min(span.count, lastRow * this.columns);
      yield { section: at, start: Math.min(end, firstRow * this.columns), end };
    }
  }

  /** The image that a step of the keyboard leads to, or null at an end. */
  step(ordinal: number, key: string, rowsOfPage: number): number | null {
    const place = this.placeOf(ordinal);
    const steps: Record<string, () => number | null> = {
      ArrowLeft: () => ordinal - 1,
      ArrowRight: () => ordinal + 1,
      ArrowUp: () => this.#rowStep(place, -1),
      ArrowDown: () => this.#rowStep(place, 1),
      PageUp: () => ordinal - rowsOfPage * this.columns,
      PageDown: () => ordinal + rowsOfPage * this.columns,
      Home: () => 0,
      End: () => this.total - 1,
    };
    const step = steps[key];
    if (step === undefined || this.total === 0) return null;
    const found = step();
    return found === null ? null : clamp(found, 0, this.total - 1);
  }

  #rowStep(place: Place, by: 1 | -1): number | null {
    const span = this.spans[place.section]!;
    const row = Math.floor(place.index / this.columns) + by;
    const column = place.index % this.columns;
    if (row >= 0 && row < span.rows) {
      return span.first + Math.min(span.count - 1, row * this.columns + column);
    }
    const next = this.spans[place.section + by];
    if (next === undefined) return null;
    const base = by > 0 ? 0 : (next.rows - 1) * this.columns;
    return next.first + Math.min(next.count - 1, base + column);
  }
}

/**
 * The position in the whole height for a position of the scroll bar. A wheel or a finger moves
 * pixel by pixel, also where the bar is too short for that; a drag of the bar jumps by shares.
 */
export class Travel {
  top = 0;
  #last: number | null = null;

  follow(scrollTop: number, viewport: number, layout: Layout): number {
    const room = Math.max(0, layout.scrollHeight - viewport);
    const end = Math.max(0, layout.height - viewport);
    if (layout.scrollHeight === layout.height) {
      this.top = clamp(scrollTop, 0, end);
    } else {
      const moved = scrollTop - (this.#last ?? 0);
      const isJump = this.#last === null || Math.abs(moved) > 2 * viewport
        || scrollTop <= 0 || scrollTop >= room - 1;
      const share = room > 0 ? scrollTop / room : 0;
      this.top = clamp(isJump ? share * end : this.top + moved, 0, end);
    }
    this.#last = scrollTop;
    return this.top;
  }

  /** Where the bar belongs for the present position. */
  barFor(viewport: number, layout: Layout): number {
    const room = Math.max(0, layout.scrollHeight - viewport);
    const end = Math.max(0, layout.height - viewport);
    return end > 0 ? Math.round((this.top / end) * room) : 0;
  }

  /** Go to a height; returns where the bar belongs. */
  goTo(top: number, viewport: number, layout: Layout): number {
    this.top = clamp(top, 0, Math.max(0, layout.height - viewport));
    const bar = this.barFor(viewport, layout);
    this.#last = bar;
    return bar;
  }
}

export function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function lastWhere<T>(items: readonly T[], test: (item: T) => boolean): number {
  let low = 0;
  let high = items.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (test(items[middle]!)) low = middle;
    else high = middle - 1;
  }
  return low;
}
