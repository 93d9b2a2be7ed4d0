// One image: large, with all that is known about it and all that can be done with it.
import { html, nothing, type PropertyValues, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Details, Family, ImageRequest, Row } from "../core/api";
import { icon, type IconName } from "../core/icons";
import { Part } from "../core/part";
import { go, linkTo, route } from "../core/route";
import { session } from "../core/session";
import { download, library, queryOf, filtersOf } from "../gallery/library";
import { draft, type Values } from "../make/draft";
import { starsOf } from "./stars";

const NOTES_PAUSE = 600;
const LARGE = 2048;

@customElement("imagen-details")
export class DetailsView extends Part {
  @property() imageId = "";
  @state() private details: Details | null = null;
  @state() private family: Family | null = null;
  @state() private similar: readonly Row[] = [];
  @state() private problem = "";
  @state() private isSharp = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #touchX = 0;

  override connectedCallback(): void {
    super.connectedCallback();
    this.on(document, "keydown", (event: KeyboardEvent) => this.#onKey(event));
    this.on(session.events, "changed", (event: CustomEvent<{ ids: string[] }>) => {
      if (event.detail.ids.includes(this.imageId)) void this.#load();
    });
    this.on(session.events, "added", (event: CustomEvent<{ images: Row[] }>) => {
      if (event.detail.images.some((row) => row.parent !== null)) void this.#loadFamily();
    });
  }

  protected override willUpdate(changes: PropertyValues<this>): void {
    if (!changes.has("imageId")) return;
    this.details = null;
    this.isSharp = false;
    void this.#load();
    void this.#loadFamily();
  }

  async #load(): Promise<void> {
    const id = this.imageId;
    // The neighbours are those of the search that led here.
    library.want(this.#filters());
    try {
      const details = await session.api.details(id);
      if (id === this.imageId) [this.details, this.problem] = [details, ""];
    } catch (error) {
      this.problem = session.sentenceOf(error);
    }
  }

  async #loadFamily(): Promise<void> {
    const id = this.imageId;
    const isSimilar = session.state.value?.features.similar === true;
    const [family, similar] = await Promise.all([
      session.api.lineage(id).catch(() => null),
      isSimilar ? session.api.similar(id).catch(() => []) : [],
    ]);
    if (id === this.imageId) [this.family, this.similar] = [family, similar];
  }

  protected override render(): TemplateResult {
    if (this.problem !== "" && this.details === null) {
      return html`<div class="empty"><h2>${this.t.noImage}</h2><p>${this.problem}</p>
        <a class="button" href="#/">${this.t.backToImages}</a></div>`;
    }
    const { details } = this;
    return html`
      <div class="details">
        <section class="stage" aria-label=${this.t.theImage}
          @pointerdown=${(event: PointerEvent) => { this.#touchX = event.clientX; }}
          @pointerup=${(event: PointerEvent) => this.#swipe(event)}>
          <div class="stage-bar">
            <a class="button quiet icon-only" href=${linkTo("", "", queryOf(this.#filters()))}
              aria-label=${this.t.backToImages} title=${this.t.backToImages}>${icon("close")}</a>
            <span class="top-space"></span>
            ${this.#step("left", this.t.previous, -1)} ${this.#step("right", this.t.next, 1)}
            <a class="button quiet icon-only" href=${linkTo("show", this.imageId)}
              aria-label=${this.t.slides} title=${this.t.slides}>${icon("play")}</a>
          </div>
          ${details === null ? html`<p class="view-loading" role="status">${this.t.loading}</p>`
            : this.#large(details)}
        </section>
        <aside class="facts" aria-label=${this.t.details}>
          ${details === null ? nothing : this.#facts(details)}
        </aside>
      </div>`;
  }

  #large(details: Details): TemplateResult {
    const small = session.host.thumbnail(details.id, 512);
    return html`
      <div class="stage-image">
        <img class=${this.isSharp ? "sharp" : "soft"} alt=${details.prompt || this.t.theImage}
          width=${details.width} height=${details.height}
          src=${this.isSharp ? session.host.thumbnail(details.id, LARGE) : small}
          @load=${() => { this.isSharp = true; }}>
      </div>`;
  }

  #step(name: IconName, text: string, by: 1 | -1): TemplateResult {
    return html`<button class="button quiet icon-only" aria-label=${text} title=${text}
      @click=${() => void this.#go(by)}>${icon(name)}</button>`;
  }

  // --- facts ----------------------------------------------------------------------

  #facts(details: Details): TemplateResult {
    return html`
      <div class="facts-head">
        ${starsOf(details.stars, this.t, (stars) => void this.#rate(stars))}
        <span class="top-space"></span>
        <a class="button quiet icon-only" href=${session.host.file(details.id, true)} download
          aria-label=${this.t.download} title=${this.t.download}>${icon("download")}</a>
        ${details.trashed ? html`<button class="button quiet icon-only" aria-label=${this.t.restore}
            title=${this.t.restore} @click=${() => void library.restore([details.id], this.t)}
            >${icon("undo")}</button>`
          : html`<button class="button quiet icon-only" aria-label=${this.t.trashAction}
            title=${this.t.trashAction} @click=${() => void this.#discard()}>${icon("trash")}</button>`}
      </div>
      ${this.#actions(details)}
      <div class="facts-prompt">
        <h1 class="label">${this.t.prompt}</h1>
        <p>${details.prompt || this.t.withoutPrompt}</p>
        ${details.revised_prompt ? html`<details><summary>${this.t.revisedPrompt}</summary>
          <p>${details.revised_prompt}</p></details>` : nothing}
      </div>
      ${this.#words(details)} ${this.#table(details)} ${this.#lineage()} ${this.#alike()}
      ${this.#record(details)}`;
  }

  #actions(details: Details): TemplateResult {
    const can = (operation: string): boolean => session.modelsFor(operation).length > 0;
    return html`
      <div class="actions">
        <a class="button primary" href=${linkTo("edit", details.id)}>${icon("edit")}${this.t.edit}</a>
        ${can("vary") ? this.#make("vary", this.t.vary, { operation: "vary", image: this.#self }) : nothing}
        ${can("enhance")
          ? this.#make("enhance", this.t.enhance, { operation: "enhance", image: this.#self }) : nothing}
        <button class="button" @click=${() => this.#reuse(details)}>${icon("again")}${this.t.reuse}</button>
        <button class="button" @click=${() => {
          session.addReference(details.id);
          go("#/make");
        }}>${icon("add")}${this.t.asReference}</button>
        ${session.state.value?.features.shares === true ? html`
          <button class="button" @click=${() => void this.#share()}>${icon("key")}${this.t.share}</button>`
          : nothing}
      </div>`;
  }

  get #self(): { id: string } {
    return { id: this.imageId };
  }

  #make(name: IconName, text: string, request: ImageRequest): TemplateResult {
    const start = async (): Promise<void> => {
      const batch = await session.startOrSay([request]);
      if (batch !== null) session.say(this.t.started);
    };
    return html`<button class="button" @click=${() => void start()}>${icon(name)}${text}</button>`;
  }

  #words(details: Details): TemplateResult {
    const change = (event: Event): void => {
      const input = event.target as HTMLInputElement;
      const tags = input.value.split(",").map((one) => one.trim()).filter(Boolean);
      input.value = "";
      if (tags.length > 0) void library.tag([details.id], tags, []).then(() => this.#load());
    };
    return html`
      <div class="field">
        <label for="add-tag">${this.t.tags}</label>
        <div class="chips">${details.tags.map((tag) => html`
          <button class="chip" title=${this.t.removeTag(tag)} aria-label=${this.t.removeTag(tag)}
            @click=${() => void library.tag([details.id], [], [tag]).then(() => this.#load())}
            >${tag}${icon("close")}</button>`)}
          <input id="add-tag" class="input tag-input" placeholder=${this.t.addTag}
            @change=${change}></div>
      </div>
      <div class="field">
        <label for="notes">${this.t.notes}</label>
        <textarea id="notes" class="textarea" rows="2" .value=${details.notes}
          @input=${(event: Event) => this.#annotate((event.target as HTMLTextAreaElement).value)}
        ></textarea>
      </div>`;
  }

  #table(details: Details): TemplateResult {
    const rows: [string, unknown][] = [
      [this.t.model, details.model],
      [this.t.provider, details.provider],
      [this.t.made, this.t.moment(details.created_at)],
      [this.t.cost, this.#cost(details)],
      [this.t.took, details.seconds === null ? null : this.t.seconds(details.seconds)],
      [this.t.pixels, `${details.width} × ${details.height}`],
      [this.t.parameter("seed"), details.seed],
      [this.t.bytes, this.t.size(details.size_bytes)],
      [this.t.collections, details.collections.join(", ")],
      [this.t.provenance, details.c2pa === null ? null : this.t.sealed],
      ["id", details.id],
    ];
    return html`
      <dl class="table">${rows.filter(([, value]) => value !== null && value !== "").map(([name, value]) =>
        html`<div><dt>${name}</dt><dd class="number">${value}</dd></div>`)}</dl>
      ${details.adjustments.length === 0 ? nothing : html`
        <div><h2 class="label">${this.t.adjustments}</h2><ul class="adjustments">
          ${details.adjustments.map((one) => html`<li>${one.reason
            || this.t.adjusted(one.parameter, one.asked, one.used)}</li>`)}</ul></div>`}`;
  }

  #cost({ cost_usd: usd, cost_source: source }: Details): string {
    const price = this.t.price(usd, null);
    return usd === null || Number(usd) === 0 ? price : `${price} (${this.t.costSource(source)})`;
  }

  #lineage(): TemplateResult | typeof nothing {
    if (this.family === null || (this.family.children.length === 0)) return nothing;
    return html`<div><h2 class="label">${this.t.lineage}</h2>
      <ul class="tree">${this.#branch(this.family)}</ul></div>`;
  }

  #branch(family: Family): TemplateResult {
    const isHere = family.image.id === this.imageId;
    return html`<li>
      <a href=${linkTo("image", family.image.id)} aria-current=${isHere ? "true" : nothing}>
        <img src=${session.host.thumbnail(family.image.id, 128)} alt="">
        <span>${this.t.operation(family.image.operation)}<small>${family.image.prompt}</small></span></a>
      ${family.children.length === 0 ? nothing
        : html`<ul>${family.children.map((child) => this.#branch(child))}</ul>`}</li>`;
  }

  #alike(): TemplateResult | typeof nothing {
    if (this.similar.length === 0) return nothing;
    return html`<div><h2 class="label">${this.t.similar}</h2><ul class="alike">
      ${this.similar.map((row) => html`<li><a href=${linkTo("image", row.id)}>
        <img src=${session.host.thumbnail(row.id, 128)} alt=${row.prompt || this.t.theImage}></a></li>`)}
    </ul></div>`;
  }

  #record(details: Details): TemplateResult | typeof nothing {
    if (details.record === null || details.record === undefined) return nothing;
    return html`<details class="record"><summary>${this.t.record}</summary>
      <pre tabindex="0">${JSON.stringify(details.record, null, 2)}</pre></details>`;
  }

  // --- actions --------------------------------------------------------------------

  #filters(): ReturnType<typeof filtersOf> {
    return filtersOf(route.value.query);
  }

  async #rate(stars: number): Promise<void> {
    if (this.details !== null) this.details = { ...this.details, stars };
    await library.rate([this.imageId], stars);
  }

  #annotate(notes: string): void {
    clearTimeout(this.#timer);
    const id = this.imageId;
    this.#timer = setTimeout(() => {
      const before = this.details?.id === id ? this.details.notes : null;
      if (before !== null) this.details = { ...this.details!, notes };
      void library.annotate(id, notes, before);
    }, NOTES_PAUSE);
  }

  async #discard(): Promise<void> {
    const id = this.imageId;
    await this.#go(1);
    if (this.imageId === id) go("#/");
    await library.trash([id], this.t);
  }

  async #share(): Promise<void> {
    const share = await session.attempt(() => session.api.share(this.imageId));
    if (share === undefined) return;
    await navigator.clipboard.writeText(share.url).catch(() => undefined);
    session.say(this.t.shared(share.url));
  }

  /** The request of this image, into the dialog. */
  #reuse(details: Details): void {
    const request = details.request ?? { operation: "generate" };
    const skipped = new Set(["operation", "prompt", "model", "images", "image", "mask", "references",
      "reference", "parent", "options"]);
    const values = Object.fromEntries(Object.entries(request).filter(([name, value]) =>
      !skipped.has(name) && ["string", "number", "boolean"].includes(typeof value))) as Values;
    draft.value = {
      ...draft.value, prompt: details.prompt, models: [details.model], values, references: [],
    };
    go("#/make");
  }

  async #go(by: 1 | -1): Promise<void> {
    const { source } = library;
    library.want(this.#filters());
    if (this.details === null) return;
    const here = (await source.value?.locate(this.details)) ?? null;
    const row = here === null ? undefined : await source.value?.rowAt(here + by);
    if (row !== undefined) go(linkTo("image", row.id, route.value.query), true);
  }

  #swipe(event: PointerEvent): void {
    const moved = event.clientX - this.#touchX;
    if (event.pointerType === "touch" && Math.abs(moved) > 60) void this.#go(moved < 0 ? 1 : -1);
  }

  #onKey(event: KeyboardEvent): void {
    const target = event.target as HTMLElement;
    if (target.closest("input, textarea, select, dialog, pre") !== null || event.ctrlKey || event.metaKey) return;
    const actions: Record<string, () => void> = {
      ArrowLeft: () => void this.#go(-1),
      ArrowRight: () => void this.#go(1),
      Escape: () => go(linkTo("", "", queryOf(this.#filters()))),
      Delete: () => void this.#discard(),
      e: () => go(linkTo("edit", this.imageId)),
      d: () => download(session.host.file(this.imageId, true)),
    };
    if (/^[0-5]$/.test(event.key)) void this.#rate(Number(event.key));
    else if (actions[event.key] !== undefined) actions[event.key]!();
    else return;
    event.preventDefault();
  }
}
