// The images of one search, by day and position. Pages of rows are fetched when they come into
// view, and the oldest are forgotten: the memory of the tab stays flat.
import type { Api, Filters, Row } from "../core/api";
import type { Section } from "./layout";
import type { Source } from "./gallery";

export const PAGE = 100;
const MOST_PAGES = 40;
const MOST_IDS = 5000;

export class DaySource implements Source {
  readonly #pages = new Map<string, Row[]>();
  readonly #before = new Map<string, Row>();
  readonly #fetching = new Map<string, Promise<void>>();
  readonly isAnother: boolean;

  constructor(
    readonly api: Api,
    readonly filters: Filters,
    readonly sections: readonly Section[],
    readonly titleOf: (day: string) => string,
    earlier: DaySource | null = null,
    readonly isWhole = true,
  ) {
    this.isAnother = JSON.stringify(earlier?.filters) !== JSON.stringify(filters);
    if (earlier !== null && !this.isAnother) this.#takeOver(earlier);
  }

  /** Show the rows of before until the new ones are here, so that nothing flickers. */
  #takeOver(earlier: DaySource): void {
    const places = new Map(this.sections.map((day, at) => [day.key, at]));
    for (const [key, rows] of earlier.#pages) {
      const [old, page] = key.split(".").map(Number) as [number, number];
      const day = earlier.sections[old]!;
      const section = places.get(day.key);
      if (section === undefined) continue;
      // New images come first: those of before move back. A day that was cut has older ones too.
      const isCut = !earlier.isWhole && old === earlier.sections.length - 1;
      const added = isCut ? 0 : Math.max(0, this.sections[section]!.count - day.count);
      const moved = added + page * PAGE;
      for (const [at, row] of rows.entries()) this.#before.set(keyOf(section, moved + at), row);
    }
  }

  /** Take the latest rows: a day each would be a call each. */
  seed(rows: readonly Row[]): void {
    let at = 0;
    for (const [section, day] of this.sections.entries()) {
      const own: Row[] = [];
      while (at < rows.length && dayOf(rows[at]!) === day.key) own.push(rows[at++]!);
      if (own.length >= Math.min(PAGE, day.count)) this.#pages.set(keyOf(section, 0), own.slice(0, PAGE));
      else for (const [index, row] of own.entries()) this.#before.set(keyOf(section, index), row);
      if (at >= rows.length) return;
    }
  }

  get total(): number {
    return this.sections.reduce((sum, one) => sum + one.count, 0);
  }

  title(section: number): string {
    return this.titleOf(this.sections[section]!.key);
  }

  peek(section: number, index: number): Row | undefined {
    return this.#pageOf(section, index)?.[index % PAGE] ?? this.#before.get(keyOf(section, index));
  }

  has(section: number, index: number): boolean {
    return this.#pageOf(section, index) !== undefined;
  }

  #pageOf(section: number, index: number): Row[] | undefined {
    return this.#pages.get(keyOf(section, Math.floor(index / PAGE)));
  }

  async fetch(section: number, start: number, end: number): Promise<void> {
    const waits: Promise<void>[] = [];
    for (let page = Math.floor(start / PAGE); page * PAGE < end; page += 1) {
      waits.push(this.#fetchPage(section, page));
    }
    await Promise.all(waits);
  }

  #fetchPage(section: number, page: number): Promise<void> {
    const key = keyOf(section, page);
    const here = this.#pages.get(key);
    if (here !== undefined) {
      // Seen last: forgotten last.
      this.#pages.delete(key);
      this.#pages.set(key, here);
      return Promise.resolve();
    }
    const going = this.#fetching.get(key) ?? this.#load(key, section, page);
    this.#fetching.set(key, going);
    return going;
  }

  async #load(key: string, section: number, page: number): Promise<void> {
    try {
      const day = this.sections[section]!.key;
      this.#pages.set(key, await this.api.imagesOfDay(day, page * PAGE, PAGE, this.filters));
      const [oldest] = this.#pages.keys();
      if (this.#pages.size > MOST_PAGES && oldest !== undefined) this.#pages.delete(oldest);
    } catch {
      // The tile stays empty, and is asked for again when it is drawn.
    } finally {
      this.#fetching.delete(key);
    }
  }

  #place(ordinal: number): { section: number; index: number } | null {
    let left = ordinal;
    for (const [section, { count }] of this.sections.entries()) {
      if (left < count) return { section, index: left };
      left -= count;
    }
    return null;
  }

  async rowAt(ordinal: number): Promise<Row | undefined> {
    const place = this.#place(ordinal);
    if (place === null || ordinal < 0) return undefined;
    await this.fetch(place.section, place.index, place.index + 1);
    return this.peek(place.section, place.index);
  }

  /** The ids from one position to another, both included. */
  async idsBetween(one: number, other: number): Promise<string[]> {
    const first = Math.max(0, Math.min(one, other));
    const last = Math.min(Math.max(one, other), first + MOST_IDS - 1);
    const ids: string[] = [];
    for (let at = first; at <= last; at += 1) {
      const row = await this.rowAt(at);
      if (row !== undefined) ids.push(row.id);
    }
    return ids;
  }

  /** The position of an image; its day is looked through if it is not at hand. */
  async locate(row: Pick<Row, "id" | "created_at">): Promise<number | null> {
    const here = this.ordinalOf(row.id);
    if (here !== null) return here;
    const section = this.sections.findIndex((day) => day.key === dayOf(row));
    if (section < 0) return null;
    const last = Math.min(this.sections[section]!.count, MOST_IDS);
    for (let start = 0; start < last; start += PAGE) {
      await this.fetch(section, start, start + 1);
      const found = this.ordinalOf(row.id);
      if (found !== null) return found;
    }
    return null;
  }

  /** The position of an image among the rows at hand. */
  ordinalOf(id: string): number | null {
    for (const [key, rows] of this.#pages) {
      const index = rows.findIndex((row) => row.id === id);
      if (index < 0) continue;
      const [section, page] = key.split(".").map(Number) as [number, number];
      const before = this.sections.slice(0, section).reduce((sum, day) => sum + day.count, 0);
      return before + page * PAGE + index;
    }
    return null;
  }

  /** Change rows at hand in place. */
  change(ids: ReadonlySet<string>, change: (row: Row) => Row): void {
    for (const rows of this.#pages.values()) {
      for (const [at, row] of rows.entries()) if (ids.has(row.id)) rows[at] = change(row);
    }
  }
}

/** The day of an image, in UTC as the server counts it. */
export function dayOf(row: Pick<Row, "created_at">): string {
  return row.created_at.slice(0, 10);
}

function keyOf(section: number, page: number): string {
  return `${section}.${page}`;
}
