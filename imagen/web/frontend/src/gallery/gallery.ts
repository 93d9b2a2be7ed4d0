// The virtual gallery: only the tiles on the screen exist, and they are used again.
import { html, type TemplateResult } from "lit";
import { customElement, property } from "lit/decorators.js";
import type { Row } from "../core/api";
import { Part } from "../core/part";
import { clamp, Layout, Travel, type Section } from "./layout";

export interface Source {
  readonly sections: readonly Section[];
  /** Whether it shows another search than the one before it. */
  readonly isAnother: boolean;
  /** The row at a position if it is at hand. */
  peek(section: number, index: number): Row | undefined;
  /** Whether that row is as the server has it now. */
  has(section: number, index: number): boolean;
  /** Fetch the rows of a section from `start` to `end`; resolves when they are at hand. */
  fetch(section: number, start: number, end: number): Promise<void>;
  title(section: number): string;
}

interface Tile {
  readonly box: HTMLElement;
  readonly image: HTMLImageElement;
  readonly stars: HTMLElement;
  ordinal: number;
  id: string | null;
  /** Whether the place has moved to another image since it was filled. */
  isStale: boolean;
}

// Pixels around the view that are drawn too; after a jump, and in another search, what is in view
// comes first.
const AROUND = 480;
const AROUND_JUMP = 40;
const REST = 160;
// Milliseconds at most in which the first row of another search has the connections for itself.
const HEAD_START = 150;
// Milliseconds until the images that are there are painted.
const PAINTED = 30;
const LONG_PRESS = 450;

@customElement("imagen-gallery")
export class Gallery extends Part {
  @property({ attribute: false }) source: Source | null = null;
  @property({ type: Number }) wanted = 184;
  @property({ attribute: false }) thumbnail: (row: Row, pixels: number) => string = () => "";
  @property({ attribute: false }) selected: ReadonlySet<string> = new Set();
  /** Whether other images will come soon: those that are not here yet are no longer asked for. */
  @property({ type: Boolean }) isLeaving = false;

  focused = 0;
  #focusedId: string | null = null;
  #layout = new Layout([], 1, 1);
  #travel = new Travel();
  #scroller: HTMLElement | null = null;
  #space: HTMLElement | null = null;
  #stage: HTMLElement | null = null;
  #heads: HTMLElement | null = null;
  #tiles = new Map<number, Tile>();
  #free: Tile[] = [];
  #headings = new Map<number, HTMLElement>();
  #frame = 0;
  #rest: ReturnType<typeof setTimeout> | undefined;
  #later: ReturnType<typeof setTimeout> | undefined;
  #dragFrom: number | null = null;
  #dragged = false;
  // Where a selection by shift begins.
  #anchor = 0;
  #drawnTop = 0;
  #press: ReturnType<typeof setTimeout> | undefined;

  protected override render(): TemplateResult {
    return html`
      <div class="gallery-scroll" tabindex="-1" @scroll=${this.#onScroll}>
        <div class="gallery-space">
          <div class="gallery-heads" aria-hidden="true"></div>
          <div class="gallery-stage" role="listbox" aria-multiselectable="true"
            aria-label=${this.t.gallery} @click=${this.#onClick} @dblclick=${this.#onDouble}
            @keydown=${this.#onKey} @focusin=${this.#onFocus} @pointerdown=${this.#onDown} @pointerover=${this.#onOver}
            @dragstart=${this.#onDrag}
            @contextmenu=${this.#onMenu}></div>
        </div>
      </div>
      <imagen-timeline @jump=${(event: CustomEvent<number>) => this.#jump(event.detail)}
        ></imagen-timeline>`;
  }

  protected override firstUpdated(): void {
    this.#scroller = this.querySelector(".gallery-scroll");
    this.#space = this.querySelector(".gallery-space");
    this.#stage = this.querySelector(".gallery-stage");
    this.#heads = this.querySelector(".gallery-heads");
    for (const name of ["load", "error"]) {
      // They do not bubble.
      this.on(this.#stage!, name, () => this.#onImage(), { capture: true });
    }
    const resize = new ResizeObserver(() => this.#relayout(this.#later !== undefined));
    resize.observe(this.#scroller!);
    this.untilGone(() => resize.disconnect());
    this.on(window, "pointerup", () => {
      this.#dragFrom = null;
      clearTimeout(this.#press);
    });
    this.on(window, "pointercancel", () => clearTimeout(this.#press));
  }

  protected override updated(changes: Map<string, unknown>): void {
    if (changes.has("isLeaving") && this.isLeaving) this.#giveUp();
    if (changes.has("source") || changes.has("wanted")) {
      this.#relayout(changes.has("source") && this.source?.isAnother === true);
    }
    else this.refresh();
  }

  /** Show again what has changed in the rows that are on the screen. */
  refresh(): void {
    for (const tile of this.#tiles.values()) this.#fill(tile);
  }

  #giveUp(): void {
    clearTimeout(this.#later);
    this.#later = undefined;
    for (const tile of this.#tiles.values()) {
      if (tile.image.complete) continue;
      tile.id = null;
      tile.image.removeAttribute("src");
    }
  }

  showTop(): void {
    this.#goTo(0);
  }

  /** Bring an image into view and focus it. */
  focusAt(ordinal: number): void {
    if (this.#layout.total === 0) return;
    this.focused = clamp(ordinal, 0, this.#layout.total - 1);
    this.#reveal(this.focused);
    this.#draw();
    this.#tiles.get(this.focused)?.box.focus({ preventScroll: true });
  }

  #relayout(isAnother = false): void {
    if (this.#scroller === null || this.source === null) return;
    const width = this.#space!.clientWidth;
    if (width === 0 && this.source.sections.length > 0) return;
    const grown = this.#layout;
    const before = this.#travel.top;
    this.#layout = new Layout(this.source.sections, width, this.wanted);
    this.#space!.style.height = `${this.#layout.scrollHeight}px`;
    for (const key of [...this.#headings.keys()]) this.#dropHeading(key);
    for (const tile of [...this.#tiles.values()]) this.#replace(tile);
    const added = grown.columns === this.#layout.columns ? this.#layout.height - grown.height : 0;
    this.#goTo(before > 0 ? before + Math.max(0, added) : 0, isAnother);
    this.#keepFocus();
  }

  /** New images move the others: the focus stays with its image, not with its place. */
  #keepFocus(): void {
    const had = this.#stage!.contains(document.activeElement);
    const same = [...this.#tiles.values()].find((tile) => tile.id !== null && tile.id === this.#focusedId);
    this.#moveFocus(same?.ordinal ?? clamp(this.focused, 0, Math.max(0, this.#layout.total - 1)));
    if (had) this.#tiles.get(this.focused)?.box.focus({ preventScroll: true });
  }

  #onScroll(): void {
    clearTimeout(this.#press);
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#travel.follow(this.#scroller!.scrollTop, this.#scroller!.clientHeight, this.#layout);
      this.#draw();
    });
    this.#settleSoon();
  }

  #settleSoon(): void {
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.#settle(), REST);
  }

  /** Put the bar where it belongs, once the movement is over. */
  #settle(): void {
    const bar = this.#travel.barFor(this.#scroller!.clientHeight, this.#layout);
    const isScaled = this.#layout.scrollHeight < this.#layout.height;
    if (isScaled && Math.abs(bar - this.#scroller!.scrollTop) > 1) this.#goTo(this.#travel.top);
    else this.#draw();
  }

  #goTo(top: number, isAnother = false): void {
    if (this.#scroller === null) return;
    const bar = this.#travel.goTo(top, this.#scroller.clientHeight, this.#layout);
    this.#scroller.scrollTop = bar;
    this.#draw(isAnother);
  }

  #jump(share: number): void {
    this.#goTo(share * (this.#layout.height - this.#scroller!.clientHeight));
  }

  #reveal(ordinal: number): void {
    const { y } = this.#layout.boxOf(this.#layout.placeOf(ordinal));
    const height = this.#scroller!.clientHeight;
    if (y < this.#travel.top) this.#goTo(y - 48);
    else if (y + this.#layout.pitch > this.#travel.top + height) {
      this.#goTo(y + this.#layout.pitch - height + 8);
    }
  }

  #draw(isAnother = false): void {
    if (this.source === null || this.#scroller === null) return;
    const top = this.#travel.top;
    const view = this.#scroller.clientHeight;
    const shift = `translateY(${this.#scroller.scrollTop - top}px)`;
    this.#stage!.style.transform = this.#heads!.style.transform = shift;
    const isJump = isAnother || Math.abs(top - this.#drawnTop) > view;
    if (isJump) this.#settleSoon();
    const around = isJump ? AROUND_JUMP : AROUND;
    this.#drawnTop = top;
    const needed = new Set<number>();
    const headings = new Set<number>();
    for (const { section, start, end } of this.#layout.between(top - around, top + view + around)) {
      headings.add(section);
      const first = this.#layout.spans[section]!.first;
      for (let index = start; index < end; index += 1) needed.add(first + index);
    }
    // The focused tile stays, or the focus of the keyboard would be lost.
    if (this.#stage!.contains(document.activeElement)) needed.add(this.focused);
    for (const tile of [...this.#tiles.values()]) {
      if (!needed.has(tile.ordinal)) this.#release(tile);
    }
    for (const key of [...this.#headings.keys()]) if (!headings.has(key)) this.#dropHeading(key);
    for (const key of headings) this.#placeHeading(key);
    const early = isAnother ? this.#layout.columns : Infinity;
    for (const ordinal of needed) this.#place(ordinal, ordinal >= early);
    clearTimeout(this.#later);
    this.#later = isAnother ? setTimeout(() => this.#drawRest(), HEAD_START) : undefined;
    if (isAnother) this.#onImage();
    this.#fetchMissing(top - around, top + view + around);
    this.#tellTimeline(view);
    if (top + 2 * view > this.#layout.height) this.#tell("near-end", null);
  }

  /** The other images of another search are asked for once its first row is there. */
  #onImage(): void {
    if (this.#later === undefined) return;
    for (let at = 0; at < Math.min(this.#layout.columns, this.#layout.total); at += 1) {
      if (this.#tiles.get(at)?.image.complete === false) return;
    }
    // Once they are painted.
    clearTimeout(this.#later);
    this.#later = setTimeout(() => requestAnimationFrame(() => this.#drawRest()), PAINTED);
  }

  #drawRest(): void {
    if (this.#later === undefined) return;
    clearTimeout(this.#later);
    this.#later = undefined;
    this.#draw();
  }

  #tellTimeline(view: number): void {
    // Nothing found is seldom the last word: the line keeps its room, or all would move twice.
    if (this.#layout.total === 0) return;
    const line = this.querySelector("imagen-timeline");
    const room = Math.max(1, this.#layout.height - view);
    line?.show(this.#layout, this.#travel.top / room);
  }

  #fetchMissing(from: number, to: number): void {
    for (const { section, start, end } of this.#layout.between(from, to)) {
      let isMissing = false;
      for (let index = start; index < end && !isMissing; index += 1) {
        isMissing = !this.source!.has(section, index);
      }
      if (isMissing) void this.source!.fetch(section, start, end).then(() => this.refresh());
    }
  }

  #placeHeading(section: number): void {
    if (this.#headings.has(section)) return;
    const head = document.createElement("div");
    head.className = "gallery-head";
    const title = document.createElement("span");
    title.textContent = this.source!.title(section);
    const count = document.createElement("small");
    count.textContent = this.t.number(this.#layout.spans[section]!.count);
    head.append(title, count);
    head.style.transform = `translateY(${this.#layout.spans[section]!.top}px)`;
    this.#heads!.append(head);
    this.#headings.set(section, head);
  }

  #dropHeading(section: number): void {
    this.#headings.get(section)?.remove();
    this.#headings.delete(section);
  }

  #place(ordinal: number, waits: boolean): void {
    const here = this.#tiles.get(ordinal);
    if (here !== undefined) {
      if (here.isStale) this.#fill(here, waits);
      return;
    }
    const tile = this.#free.pop() ?? makeTile();
    tile.ordinal = ordinal;
    tile.id = null;
    this.#position(tile);
    this.#stage!.insertBefore(tile.box, this.#boxAfter(ordinal));
    this.#tiles.set(ordinal, tile);
    this.#fill(tile, waits);
  }

  /** The next tile in the page: a screen reader reads them in their order. */
  #boxAfter(ordinal: number): HTMLElement | null {
    let next: Tile | null = null;
    for (const tile of this.#tiles.values()) {
      if (tile.ordinal > ordinal && (next === null || tile.ordinal < next.ordinal)) next = tile;
    }
    return next?.box ?? null;
  }

  #position(tile: Tile): void {
    const { x, y } = this.#layout.boxOf(this.#layout.placeOf(tile.ordinal));
    tile.box.style.transform = `translate(${x}px, ${y}px)`;
    tile.box.style.width = tile.box.style.height = `${this.#layout.side}px`;
  }

  /** A tile of before in the new layout. It stays in the page, or the focus would be lost. */
  #replace(tile: Tile): void {
    if (tile.ordinal >= this.#layout.total) this.#release(tile);
    else {
      this.#position(tile);
      tile.isStale = true;
    }
  }

  #release(tile: Tile): void {
    this.#tiles.delete(tile.ordinal);
    tile.image.removeAttribute("src");
    tile.box.remove();
    this.#free.push(tile);
  }

  /** Show the row of a tile; one that `waits` gets its image when it is filled again. */
  #fill(tile: Tile, waits = false): void {
    const { section, index } = this.#layout.placeOf(tile.ordinal);
    const row = this.source?.peek(section, index);
    const { box, image } = tile;
    tile.isStale = waits;
    box.tabIndex = tile.ordinal === this.focused ? 0 : -1;
    box.setAttribute("aria-posinset", String(tile.ordinal + 1));
    box.setAttribute("aria-setsize", String(this.#layout.total));
    box.dataset["ordinal"] = String(tile.ordinal);
    if (row === undefined) {
      tile.id = null;
      image.removeAttribute("src");
      box.setAttribute("aria-label", this.t.loading);
      box.setAttribute("aria-selected", "false");
      return;
    }
    box.setAttribute("aria-label", this.t.tileLabel(row.prompt, row.stars));
    box.setAttribute("aria-selected", String(this.selected.has(row.id)));
    tile.stars.textContent = row.stars > 0 ? "★".repeat(row.stars) : "";
    box.dataset["id"] = row.id;
    if (tile.id === row.id) return;
    const isLater = waits || this.isLeaving;
    tile.id = isLater ? null : row.id;
    if (isLater) return;
    image.src = this.thumbnail(row, this.#layout.side * Math.min(2, devicePixelRatio));
  }

  // --- pointer and keyboard ---------------------------------------------------

  #ordinalOf(event: Event): number | null {
    const box = (event.target as HTMLElement).closest<HTMLElement>("[data-ordinal]");
    return box === null ? null : Number(box.dataset["ordinal"]);
  }

  #tell(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }

  #onClick(event: MouseEvent): void {
    const ordinal = this.#ordinalOf(event);
    if (ordinal === null || this.#dragged) return;
    const anchor = this.#anchor;
    this.#moveFocus(ordinal);
    if (!event.shiftKey) this.#anchor = ordinal;
    const isPick = (event.target as HTMLElement).closest(".tile-pick") !== null;
    if (event.shiftKey) this.#tell("range", { from: anchor, to: ordinal });
    else if (isPick || event.ctrlKey || event.metaKey || this.selected.size > 0) {
      this.#tell("toggle", ordinal);
    } else this.#tell("open", ordinal);
  }

  /** A screen reader focuses tiles by itself. */
  #onFocus(event: FocusEvent): void {
    const ordinal = this.#ordinalOf(event);
    if (ordinal !== null && ordinal !== this.focused) this.#moveFocus(ordinal);
  }

  #onDouble(event: MouseEvent): void {
    const ordinal = this.#ordinalOf(event);
    if (ordinal !== null) this.#tell("open", ordinal);
  }

  #onDown(event: PointerEvent): void {
    this.#dragged = false;
    const isPick = (event.target as HTMLElement).closest(".tile-pick") !== null;
    this.#dragFrom = isPick && event.button === 0 ? this.#ordinalOf(event) : null;
    const ordinal = this.#ordinalOf(event);
    // A finger has no hover to show the mark: it holds an image to select it.
    if (event.pointerType !== "touch" || ordinal === null) return;
    this.#press = setTimeout(() => {
      this.#dragged = true;
      this.#tell("toggle", ordinal);
    }, LONG_PRESS);
  }

  #onOver(event: PointerEvent): void {
    const ordinal = this.#ordinalOf(event);
    if (this.#dragFrom === null || ordinal === null || ordinal === this.#dragFrom) return;
    this.#dragged = true;
    this.#tell("range", { from: this.#dragFrom, to: ordinal });
  }

  /** A long press of a finger opens the browser's menu, which would cover the selection. */
  #onMenu(event: PointerEvent): void {
    if (event.pointerType === "touch") event.preventDefault();
  }

  #onDrag(event: DragEvent): void {
    const ordinal = this.#ordinalOf(event);
    if (this.#dragFrom !== null) event.preventDefault();
    else if (ordinal !== null) this.#tell("drag-out", { event, ordinal });
  }

  #moveFocus(ordinal: number): void {
    const before = this.#tiles.get(this.focused);
    this.focused = ordinal;
    if (before !== undefined) before.box.tabIndex = -1;
    const tile = this.#tiles.get(ordinal);
    if (tile === undefined) return;
    tile.box.tabIndex = 0;
    this.#focusedId = tile.id;
  }

  #onKey(event: KeyboardEvent): void {
    const rows = Math.max(1, Math.floor(this.#scroller!.clientHeight / this.#layout.pitch) - 1);
    const next = event.altKey ? null : this.#layout.step(this.focused, event.key, rows);
    if (next !== null) {
      event.preventDefault();
      const from = this.focused;
      this.#moveFocus(next);
      this.focusAt(next);
      this.#anchor = next;
      if (event.shiftKey) this.#tell("range", { from, to: next });
    } else if (!this.#onActionKey(event)) return;
    event.preventDefault();
  }

  #onActionKey(event: KeyboardEvent): boolean {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    if (event.key === "Enter") this.#tell("open", this.focused);
    else if (event.key === " ") this.#tell("toggle", this.focused);
    else if (/^[0-5]$/.test(event.key)) {
      this.#tell("star", { ordinal: this.focused, stars: Number(event.key) });
    } else if (event.key === "Delete" || event.key === "Backspace") {
      this.#tell("discard", this.focused);
    } else return false;
    return true;
  }
}

function makeTile(): Tile {
  const box = document.createElement("div");
  box.className = "tile";
  box.setAttribute("role", "option");
  const image = document.createElement("img");
  image.alt = "";
  image.decoding = "async";
  const pick = document.createElement("span");
  pick.className = "tile-pick";
  const stars = document.createElement("span");
  stars.className = "tile-stars";
  box.append(image, pick, stars);
  return { box, image, stars, ordinal: -1, id: null, isStale: false };
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-gallery": Gallery;
  }
}
