// The library as the views see it: the images of the present search, and changes of many at once.
// A change is shown at once; without the server it waits in the outbox and is sent later.
import { Cell } from "../core/cell";
import {
  ApiError, Unreachable, type Change, type Details, type Filters, type Row,
} from "../core/api";
import { session } from "../core/session";
import { addToOutbox, emptyOutbox, type Seen, type SeenImage } from "../core/storage";
import { language, type Messages } from "../messages/messages";
import type { Section } from "./layout";
import { dayOf, DaySource, PAGE } from "./source";

const NAMES = ["q", "model", "operation", "tag", "collection", "min_stars", "state"] as const;
const REFRESH_PAUSE = 250;
// While one types, only the latest images are read, which tell their days: two screens or more.
// Then more are counted, and then all.
const SMALL_SCREEN = 1.5e6;
const FIRST_COUNT = innerWidth * innerHeight < SMALL_SCREEN ? PAGE / 2 : PAGE;
const NEXT_COUNT = 10_000;
const GROW_PAUSE = 300;
const REFUSALS: ReadonlySet<string> = new Set(["INVALID_REQUEST", "NOT_FOUND", "TOO_LARGE"]);
// Changes of many images are not compared one by one.
const MOST_CHECKED = 50;

export interface Facets {
  readonly models: readonly string[];
  readonly tags: readonly string[];
  readonly collections: readonly string[];
}

export function filtersOf(query: URLSearchParams): Filters {
  return Object.fromEntries(NAMES.map((name) => [name, query.get(name) ?? ""])
    .filter(([, value]) => value !== ""));
}

export function queryOf(filters: Filters): URLSearchParams {
  return new URLSearchParams(
    Object.entries(filters).filter(([, value]) => value) as [string, string][]);
}

class Library {
  readonly source = new Cell<DaySource | null>(null);
  /** Whether other images are asked for than those of the source. */
  readonly isSearching = new Cell(false);
  readonly changed = new Cell(0);
  readonly facets = new Cell<Facets>({ models: [], tags: [], collections: [] });
  #filters: Filters = {};
  #wanted: string | null = null;
  #asked = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #growTimer: ReturnType<typeof setTimeout> | undefined;
  #most: number | undefined;
  #growing: string | null = null;
  // Whether the images were asked for before it was known which events follow.
  #isEarly = true;

  begin(): void {
    const { events } = session;
    for (const kind of ["added", "changed", "trashed", "restored", "deleted", "library"]) {
      events.addEventListener(kind, () => this.#refreshSoon());
    }
    events.addEventListener("collections", () => void this.#readFacets());
    events.addEventListener("back", () => void this.#comeBack());
    void this.#comeBack(this.#isEarly);
  }

  /** Send what waited; read the images again where they changed, or may have. */
  async #comeBack(mayDiffer = true): Promise<void> {
    const isSent = await this.#sendOutbox();
    await Promise.all([isSent || mayDiffer ? this.refresh() : null, this.#readFacets()]);
  }

  /** Show the images of these filters. */
  want(filters: Filters): void {
    const wanted = queryOf(filters).toString();
    if (wanted === this.#wanted) return;
    this.#wanted = wanted;
    this.#filters = filters;
    clearTimeout(this.#growTimer);
    // Without filters the counts are kept, and cost nothing.
    this.#most = wanted === "" ? undefined : FIRST_COUNT;
    this.isSearching.value = true;
    void this.#search(true);
  }

  async #search(isFirst = false): Promise<void> {
    if (!(await this.#show(isFirst)) || this.source.value?.isWhole !== false) return;
    clearTimeout(this.#growTimer);
    if (this.#most === FIRST_COUNT) this.#growTimer = setTimeout(() => void this.more(), GROW_PAUSE);
    // The beginning of a word may lead to most images, and to count them takes seconds.
    else if (!(this.#filters.q ?? "").includes("*")) {
      this.#most = undefined;
      await this.#show();
    }
  }

  /** Count more images than before. */
  async more(): Promise<void> {
    const wanted = this.#wanted;
    if (this.#growing === wanted || this.#most === undefined) return;
    if (this.source.value?.isWhole !== false) return;
    this.#growing = wanted;
    this.#most = this.#most === FIRST_COUNT ? NEXT_COUNT : this.#most * 10;
    await this.#search();
    if (this.#growing === wanted) this.#growing = null;
  }

  #refreshSoon(): void {
    // Many images may arrive in one second: the days are read once for all of them.
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.refresh();
    }, REFRESH_PAUSE);
  }

  async refresh(): Promise<void> {
    if (this.#wanted !== null) await this.#show();
  }

  /**
   * Read the days; of other images than before (`isFirst`) the latest rows too.
   * Whether these are still the images that are wanted.
   */
  async #show(isFirst = false): Promise<boolean> {
    const asked = (this.#asked += 1);
    const filters = this.#filters;
    const isEarly = session.state.value === null;
    try {
      const { sections, isWhole, rows } = this.#most === FIRST_COUNT
        ? await readLatest(filters) : await readDays(filters, this.#most, isFirst);
      if (asked !== this.#asked) return false;
      const source = new DaySource(session.api, filters, sections,
        (day) => language.value.day(day), this.source.value, isWhole);
      source.seed(rows);
      this.source.value = source;
      this.#isEarly = isEarly;
      return true;
    } catch (error) {
      const isOld = asked !== this.#asked;
      if (!isOld && !(error instanceof Unreachable)) session.say(session.sentenceOf(error));
      return false;
    } finally {
      if (asked === this.#asked) this.isSearching.value = false;
    }
  }

  async #readFacets(): Promise<void> {
    try {
      const [tags, collections] = await Promise.all([session.api.tags(), session.api.collections()]);
      const models = session.models.value.filter((one) => one.has_key).map((one) => one.id);
      this.facets.value = { models, tags, collections };
    } catch {
      // The chips stay as they are.
    }
  }

  // --- changes ----------------------------------------------------------------------

  rate = (ids: readonly string[], stars: number): Promise<string | null> => {
    const seen = this.#seen(ids);
    this.#showChange(ids, (row) => ({ ...row, stars }));
    return this.#send({ ids, stars }, seen);
  };

  async tag(ids: readonly string[], add: readonly string[], remove: readonly string[]): Promise<void> {
    this.#showChange(ids, (row) => ({
      ...row, tags: [...new Set([...row.tags.filter((tag) => !remove.includes(tag)), ...add])],
    }));
    const undo = await this.#send({ ids, add_tags: add, remove_tags: remove });
    const t = language.value;
    if (add.length > 0) this.#sayDone(t.tagged(ids.length), undo);
    void this.#readFacets();
  }

  annotate = (id: string, notes: string, before: string | null): Promise<string | null> =>
    this.#send({ ids: [id], notes }, before === null ? {} : { [id]: { notes: before } });

  async collect(ids: readonly string[], name: string): Promise<void> {
    if (!this.facets.value.collections.includes(name)) {
      const made = await session.attempt(() => session.api.createCollection(name));
      if (made === undefined) return;
    }
    const undo = await this.#send({ ids, add_to: name });
    this.#sayDone(language.value.collected(ids.length, name), undo);
    void this.#readFacets();
  }

  async trash(ids: readonly string[], t: Messages): Promise<void> {
    if (ids.length === 0) return;
    const undo = await this.#send({ ids, trashed: true }, this.#seen(ids));
    this.#sayDone(t.trashed(ids.length), undo);
    await this.refresh();
  }

  async restore(ids: readonly string[], t: Messages): Promise<void> {
    const undo = await this.#send({ ids, trashed: false });
    this.#sayDone(t.restored(ids.length), undo);
    await this.refresh();
  }

  async zip(ids: readonly string[]): Promise<void> {
    const token = await session.attempt(() => session.api.zip(ids));
    if (token !== undefined) download(session.host.link(`zips/${token}`));
  }

  /** Say what is done, with the way back; what failed or waits has its sentence already. */
  #sayDone(text: string, undo: string | null): void {
    if (undo === null) return;
    session.say(text, async () => {
      await session.attempt(() => session.api.undo(undo));
      await this.refresh();
    });
  }

  #showChange(ids: readonly string[], change: (row: Row) => Row): void {
    this.source.value?.change(new Set(ids), change);
    this.changed.value += 1;
  }

  /** The token to undo it; null if it waits in the outbox, or failed. */
  async #send(change: Change, seen: Seen = {}): Promise<string | null> {
    try {
      return (await session.api.change(change)).undo;
    } catch (error) {
      if (error instanceof Unreachable && await addToOutbox(change, seen)) {
        session.say(language.value.sentLater);
      } else session.say(session.sentenceOf(error));
      return null;
    }
  }

  #seen(ids: readonly string[]): Seen {
    const seen: Record<string, SeenImage> = {};
    this.source.value?.change(new Set(ids), (row) => {
      seen[row.id] = { stars: row.stars };
      return row;
    });
    return seen;
  }

  /** Whether there was anything to send. */
  async #sendOutbox(): Promise<boolean> {
    let conflicts = 0;
    let gone = 0;
    try {
      const sent = await emptyOutbox(async (change, seen) => {
        try {
          const differing = await conflictsOf(change, seen);
          const { changed } = await session.api.change(change);
          conflicts += differing;
          gone += change.ids.length - changed;
          return true;
        } catch (error) {
          // What the server refuses now it refuses later too, and would hold up the others.
          if (!(error instanceof ApiError) || !REFUSALS.has(error.code)) throw error;
          session.say(error.message);
          return false;
        }
      });
      if (sent > 0) session.say(language.value.outboxSent(sent, conflicts, gone));
      return sent > 0;
    } catch {
      // They wait for the next time.
      return true;
    }
  }
}

/** How many images were changed elsewhere since they were seen, so that this change hides it. */
async function conflictsOf(change: Change, seen: Seen): Promise<number> {
  const ids = Object.keys(seen).slice(0, MOST_CHECKED);
  const now = await Promise.all(ids.map((id) => session.api.details(id).catch(() => null)));
  return now.filter((one) => one !== null && isHidden(one, change, seen[one.id]!)).length;
}

/** Other stars or notes than were seen, and than it gets: those of what goes to the trash too. */
function isHidden(now: Details, change: Change, seen: SeenImage): boolean {
  return (seen.stars !== undefined && now.stars !== seen.stars && now.stars !== change.stars)
    || (seen.notes !== undefined && now.notes !== seen.notes && now.notes !== change.notes);
}

const NO_ROWS = { images: [] };

interface Found {
  readonly sections: readonly Section[];
  readonly isWhole: boolean;
  /** The latest rows, as far as they came with it. */
  readonly rows: readonly Row[];
}

/** One call for the rows and their days, so that the first images are asked for at once. */
async function readLatest(filters: Filters): Promise<Found> {
  const { images: rows, cursor } = await session.api.latest(FIRST_COUNT, filters);
  const days = new Map<string, number>();
  for (const row of rows) days.set(dayOf(row), (days.get(dayOf(row)) ?? 0) + 1);
  return { sections: sectionsOf([...days]), isWhole: cursor === null, rows };
}

async function readDays(filters: Filters, most: number | undefined, withRows: boolean): Promise<Found> {
  const [{ days, is_whole: isWhole }, { images: rows }] = await Promise.all([
    session.api.timeline(filters, most),
    // Without the server they may be missing where the days are kept.
    withRows ? session.api.latest(PAGE, filters).catch(() => NO_ROWS) : NO_ROWS,
  ]);
  return { sections: sectionsOf(days), isWhole, rows };
}

function sectionsOf(days: readonly [string, number][]): readonly Section[] {
  return days.map(([key, count]) => ({ key, count }));
}

export function download(link: string): void {
  const anchor = document.createElement("a");
  anchor.href = link;
  anchor.download = "";
  anchor.click();
}

export const library = new Library();
