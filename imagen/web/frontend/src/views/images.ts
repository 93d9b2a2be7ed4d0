// The first view: what is being made, and the library with search, filters and selection.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { Filters, Row } from "../core/api";
import { icon, type IconName } from "../core/icons";
import { Part } from "../core/part";
import { go, linkTo, route } from "../core/route";
import { session } from "../core/session";
import { tileSize } from "../core/settings";
import type { Gallery } from "../gallery/gallery";
import { filtersOf, library, queryOf } from "../gallery/library";
import { askForWord, askIfSure } from "./ask";
import "./collection";
import { starsOf } from "./stars";
import "../gallery/gallery";
import "../gallery/timeline";
import "./making";

const MOST_COMPARED = 4;

@customElement("imagen-images")
export class Images extends Part {
  @state() private selected: ReadonlySet<string> = new Set();

  override connectedCallback(): void {
    super.connectedCallback();
    this.untilGone(library.changed.listen(() => {
      this.#gallery?.refresh();
      this.requestUpdate();
    }));
    this.untilGone(library.facets.listen(({ collections }) => {
      const { collection } = filtersOf(route.value.query);
      // Another tab may have renamed or deleted it.
      if (!this.hidden && collection && !collections.includes(collection)) this.#filter({ collection: "" }, true);
    }));
    this.on(document, "keydown", (event: KeyboardEvent) => this.#onKey(event));
  }

  get #gallery(): Gallery | null {
    return this.querySelector("imagen-gallery");
  }

  protected override render(): TemplateResult {
    const source = this.read(library.source);
    const filters = filtersOf(this.read(route).query);
    if (!this.hidden) library.want(filters);
    const total = source?.total ?? 0;
    const isEmpty = source !== null && total === 0;
    return html`
      ${this.#bar(filters, total, source?.isWhole ?? true)}
      <imagen-making></imagen-making>
      <div class="gallery-frame ${this.selected.size > 0 ? "picking" : ""}">
        ${isEmpty ? this.#empty(filters) : nothing}
        <imagen-gallery class=${isEmpty ? "vacant" : ""} .source=${source} .wanted=${this.read(tileSize)} .selected=${this.selected}
            .isLeaving=${this.read(library.isSearching)}
            .thumbnail=${(row: Row, pixels: number) => session.host.thumbnail(row.id, pixels)}
            @open=${(event: CustomEvent<number>) => void this.#open(event.detail)}
            @toggle=${(event: CustomEvent<number>) => void this.#toggle(event.detail)}
            @range=${(event: CustomEvent<{ from: number; to: number }>) => void this.#range(event.detail)}
            @star=${(event: CustomEvent<{ ordinal: number; stars: number }>) =>
              void this.#star(event.detail.ordinal, event.detail.stars)}
            @discard=${(event: CustomEvent<number>) => void this.#discard(event.detail)}
            @near-end=${() => void library.more()} @drag-out=${this.#dragOut}></imagen-gallery>
        ${this.selected.size > 0 ? this.#selection(filters) : nothing}
      </div>`;
  }

  // --- search and filters -------------------------------------------------------

  #bar(filters: Filters, total: number, isWhole: boolean): TemplateResult {
    return html`
      <div class="images-bar" role="search">
        <label class="search">${icon("search")}
          <span class="visually-hidden">${this.t.searchImages}</span>
          <input type="search" placeholder=${this.t.searchImages} .value=${filters.q ?? ""}
            @input=${(event: Event) => this.#filter({ q: (event.target as HTMLInputElement).value }, true)}>
          ${filters.q ? html`<button class="button quiet small icon-only" aria-label=${this.t.clear}
            @click=${() => this.#filter({ q: "" })}>${icon("close")}</button>` : nothing}
        </label>
        <div class="chips">
          ${this.#choice("min_stars", this.t.starsFilter, "star",
            [1, 2, 3, 4, 5].map((stars) => [String(stars), `${"★".repeat(stars)} +`]), filters)}
          ${this.#choice("model", this.t.model, "image",
            this.read(library.facets).models.map((one) => [one, one]), filters)}
          ${this.#choice("tag", this.t.tag, "tag",
            this.read(library.facets).tags.map((one) => [one, one]), filters)}
          ${this.#choice("collection", this.t.collection, "book",
            this.read(library.facets).collections.map((one) => [one, one]), filters)}
          ${filters.collection ? html`<imagen-collection .name=${filters.collection}
            @moved=${(event: CustomEvent<string>) => this.#filter({ collection: event.detail })}
            ></imagen-collection>` : nothing}
          <button class="chip" aria-pressed=${filters.state === "trashed"}
            @click=${() => this.#filter({ state: filters.state === "trashed" ? "" : "trashed" })}
            >${icon("trash")}${this.t.trash}</button>
        </div>
        <span class="count number" role="status">${this.t.imageCount(total, isWhole)}</span>
        <label class="tile-size" title=${this.t.tileSize}>${icon("gallery")}
          <span class="visually-hidden">${this.t.tileSize}</span>
          <input type="range" min="96" max="400" step="8" .value=${String(tileSize.value)}
            @input=${(event: Event) => {
              tileSize.value = Number((event.target as HTMLInputElement).value);
            }}></label>
      </div>`;
  }

  #choice(
    name: keyof Filters, text: string, symbol: IconName,
    choices: readonly (readonly [string, string])[], filters: Filters,
  ): TemplateResult | typeof nothing {
    const value = filters[name] ?? "";
    if (choices.length === 0 && value === "") return nothing;
    const shown = choices.find(([one]) => one === value)?.[1] ?? value;
    return html`
      <span class="chip chip-select ${value === "" ? "" : "on"}">${icon(symbol)}
        <span aria-hidden="true">${value === "" ? text : shown}</span>
        <select aria-label=${text} @change=${(event: Event) =>
          this.#filter({ [name]: (event.target as HTMLSelectElement).value })}>
          <option value="" ?selected=${value === ""}>${this.t.any(text)}</option>
          ${choices.map(([one, words]) => html`<option value=${one} ?selected=${one === value}
            >${words}</option>`)}
        </select></span>`;
  }

  #filter(change: Partial<Filters>, replace = false): void {
    const filters = { ...filtersOf(route.value.query), ...change };
    this.selected = new Set();
    go(linkTo("", "", queryOf(filters)), replace);
    this.#gallery?.showTop();
  }

  #empty(filters: Filters): TemplateResult {
    const isFiltered = Object.values(filters).some(Boolean);
    return html`
      <div class="empty">${icon(isFiltered ? "search" : "image")}
        <h2>${isFiltered ? this.t.nothingFound : this.t.nothingYet}</h2>
        <p>${isFiltered ? this.t.nothingFoundHint : this.t.nothingYetHint}</p>
        ${isFiltered ? html`<button class="button" @click=${() => go("#/")}
          >${this.t.clearFilters}</button>` : nothing}
      </div>`;
  }

  // --- selection ----------------------------------------------------------------

  async #rowAt(ordinal: number): Promise<Row | undefined> {
    return library.source.value?.rowAt(ordinal);
  }

  async #open(ordinal: number): Promise<void> {
    const row = await this.#rowAt(ordinal);
    if (row !== undefined) go(linkTo("image", row.id, route.value.query));
  }

  async #toggle(ordinal: number): Promise<void> {
    const row = await this.#rowAt(ordinal);
    if (row === undefined) return;
    const selected = new Set(this.selected);
    if (!selected.delete(row.id)) selected.add(row.id);
    this.selected = selected;
  }

  async #range({ from, to }: { from: number; to: number }): Promise<void> {
    const ids = await library.source.value?.idsBetween(from, to);
    this.selected = new Set([...this.selected, ...(ids ?? [])]);
  }

  async #star(ordinal: number, stars: number): Promise<void> {
    const row = await this.#rowAt(ordinal);
    if (this.selected.size > 0) await library.rate([...this.selected], stars);
    else if (row !== undefined) await library.rate([row.id], stars);
  }

  async #discard(ordinal: number): Promise<void> {
    const row = await this.#rowAt(ordinal);
    const ids = this.selected.size > 0 ? [...this.selected] : row === undefined ? [] : [row.id];
    this.selected = new Set();
    await library.trash(ids, this.t);
    this.#gallery?.focusAt(ordinal);
  }

  #selection(filters: Filters): TemplateResult {
    const ids = [...this.selected];
    const isTrash = filters.state === "trashed";
    const clear = (): void => { this.selected = new Set(); };
    return html`
      <div class="selection" role="toolbar" aria-label=${this.t.selectionLabel}>
        <span class="number" role="status">${this.t.selected(ids.length)}</span>
        ${isTrash ? html`${this.#action("undo", this.t.restore, () => {
          clear();
          void library.restore(ids, this.t);
        })}${this.#action("trash", this.t.deleteForGood, () => void this.#delete(ids))}` : html`
          ${starsOf(0, this.t, (stars) => void library.rate(ids, stars))}
          ${this.#action("tag", this.t.tagAction, () => void this.#tag(ids))}
          ${this.#action("book", this.t.collect, () => void this.#collect(ids))}
          ${ids.length >= 2 && ids.length <= MOST_COMPARED ? this.#action("compare", this.t.compare,
            () => go(linkTo("compare", ids.join(",")))) : nothing}
          ${this.#action("add", this.t.asReference, () => {
            clear();
            for (const id of ids.slice(0, 8)) session.addReference(id);
          })}
          ${this.#action("download", this.t.zip, () => void library.zip(ids))}
          ${session.state.value?.features.publishing === true
            ? this.#action("globe", this.t.publish, () => void session.attempt(
              () => session.api.publish(ids), this.t.published(ids.length))) : nothing}
          ${this.#action("trash", this.t.trashAction, () => {
            clear();
            void library.trash(ids, this.t);
          })}`}
        ${this.#action("close", this.t.clearSelection, clear)}
      </div>`;
  }

  #action(name: IconName, text: string, act: () => void): TemplateResult {
    return html`<button class="button icon-only" aria-label=${text} title=${text} @click=${act}
      >${icon(name)}</button>`;
  }

  async #tag(ids: readonly string[]): Promise<void> {
    const words = await askForWord(this.t.tagTitle(ids.length), library.facets.value.tags);
    const tags = words.split(",").map((one) => one.trim()).filter(Boolean);
    if (tags.length > 0) await library.tag(ids, tags, []);
  }

  async #delete(ids: readonly string[]): Promise<void> {
    const { t } = this;
    if (!await askIfSure(t.deleteTitle(ids.length), t.deleteHint, t.deleteForGood)) return;
    this.selected = new Set();
    await session.attempt(() => session.api.deleteForGood(ids), this.t.deleted(ids.length));
    await library.refresh();
  }

  async #collect(ids: readonly string[]): Promise<void> {
    const name = await askForWord(this.t.collectTitle(ids.length), library.facets.value.collections);
    if (name !== "") await library.collect(ids, name);
  }

  #dragOut(event: CustomEvent<{ event: DragEvent; ordinal: number }>): void {
    const { event: drag } = event.detail;
    const id = (drag.target as HTMLElement).closest<HTMLElement>("[data-id]")?.dataset["id"];
    if (id === undefined || drag.dataTransfer === null) return;
    drag.dataTransfer.setData("application/x-imagen-id", id);
    drag.dataTransfer.setData("text/uri-list", new URL(session.host.file(id), location.href).href);
    drag.dataTransfer.effectAllowed = "copy";
  }

  #onKey(event: KeyboardEvent): void {
    if (this.hidden) return;
    const isTyping = (event.target as HTMLElement).closest("input, textarea, select, dialog") !== null;
    if (event.key === "/" && !isTyping) {
      event.preventDefault();
      this.querySelector<HTMLElement>(".search input")?.focus();
    } else if (event.key === "Escape" && !isTyping && this.selected.size > 0) {
      this.selected = new Set();
    }
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-images": Images;
  }
}
