// The dialog that makes images: prompt, references, model, its parameters, the price, consent.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { Unreachable, type Model, type Quote } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { go } from "../core/route";
import { newKey, session } from "../core/session";
import {
  draft, fieldsFor, MOST_IMAGES, referenceOf, takeFiles, variablesOf, wantedOf,
  type Draft, type Reference, type Wanted,
} from "./draft";
import "./models";
import "./parameters";
import "./prompts";

const QUOTE_PAUSE = 180;
// The server keeps an upload for a week after a quote: a draft may stay open for longer.
const QUOTE_AGAIN = 12 * 3600 * 1000;
const COUNTS = [1, 2, 4, 8];

@customElement("imagen-composer")
export class Composer extends Part {
  @state() private quote: Quote | null = null;
  @state() private wanted: Wanted | null = null;
  @state() private problem = "";
  @state() private isStarting = false;
  @state() private isOver = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = 0;
  #pressKey = "";

  override connectedCallback(): void {
    super.connectedCallback();
    this.untilGone(draft.listen(() => this.#priceSoon()));
    this.untilGone(session.models.listen(() => this.#priceSoon()));
    this.on(document, "keydown", (event: KeyboardEvent) => {
      if (this.hidden) return;
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void this.make();
      else if (event.key === "Escape" && this.contains(event.target as Node)) this.#cancel(event);
    });
    this.untilGone(session.wantedReferences.listen((ids) => {
      if (ids.length > 0) session.wantedReferences.value = [];
      for (const id of ids) void this.#takeImage(id);
    }));
    this.#priceSoon();
    const again = setInterval(() => this.#priceSoon(), QUOTE_AGAIN);
    this.untilGone(() => clearInterval(again));
  }

  /** Esc in the dialog cancels what was started last; in an open chooser it only closes that. */
  #cancel(event: KeyboardEvent): void {
    if ((event.target as HTMLElement).closest("dialog, [popover]") !== null) return;
    const batch = session.shownBatches().find((one) => one.state === "running");
    if (batch !== undefined) void session.cancel(batch.id);
  }

  #change(change: Partial<Draft>): void {
    draft.value = { ...draft.value, ...change };
  }

  #priceSoon(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#price(), QUOTE_PAUSE);
  }

  async #price(): Promise<void> {
    const asked = (this.#asked += 1);
    const isEmpty = draft.value.prompt.trim() === "";
    if (session.models.value.length === 0 || isEmpty) {
      [this.quote, this.problem] = [null, ""];
      return;
    }
    try {
      const wanted = await wantedOf(draft.value);
      const quote = await session.api.quote(wanted.requests, wanted.n);
      if (asked === this.#asked) [this.quote, this.wanted, this.problem] = [quote, wanted, ""];
    } catch (error) {
      if (asked !== this.#asked) return;
      this.quote = null;
      this.problem = session.connected.value ? session.sentenceOf(error) : "";
    }
  }

  async make(): Promise<void> {
    if (this.isStarting || !this.#canMake()) return;
    this.isStarting = true;
    // The same key for the same press: after a lost reply it makes no second batch.
    this.#pressKey ||= newKey();
    try {
      const { requests, n } = await wantedOf(draft.value);
      const batch = await session.start(requests, n, this.#pressKey);
      this.#pressKey = "";
      this.problem = "";
      if (batch !== null && isNarrow()) go("#/");
    } catch (error) {
      this.problem = session.sentenceOf(error);
      if (!(error instanceof Unreachable)) this.#pressKey = "";
    } finally {
      this.isStarting = false;
    }
  }

  #canMake(): boolean {
    return session.connected.value && this.#model() !== undefined
      && draft.value.prompt.trim() !== "";
  }

  #model(): Model | undefined {
    const models = session.models.value;
    return models.find((one) => one.id === draft.value.models[0]) ?? session.defaultModel();
  }

  // --- the parts ----------------------------------------------------------------

  protected override render(): TemplateResult {
    const now = this.read(draft);
    this.read(session.models);
    this.read(session.connected);
    this.read(session.state);
    const model = this.#model();
    return html`
      <form class="composer-form ${this.isOver ? "over" : ""}" aria-label=${this.t.makeTitle}
        @submit=${(event: Event) => { event.preventDefault(); void this.make(); }}
        @dragover=${this.#onDragOver} @dragleave=${() => { this.isOver = false; }}
        @drop=${this.#onDrop} @paste=${this.#onPaste}>
        <div class="composer-body">
          <h1 class="composer-title">${this.t.makeTitle}</h1>
          ${this.#prompt(now)} ${this.#references(now, model)}
          <imagen-models .chosen=${model} @choose=${(event: CustomEvent<string[]>) =>
            this.#change({ models: event.detail })}></imagen-models>
          ${this.#count(now)}
          ${model === undefined ? nothing : html`
            <imagen-parameters .model=${model} .values=${now.values}
              @change-value=${(event: CustomEvent<{ name: string; value: unknown }>) =>
                this.#setValue(event.detail.name, event.detail.value)}></imagen-parameters>`}
        </div>
        ${this.#footer(model)}
      </form>`;
  }

  #setValue(name: string, value: unknown): void {
    const values = { ...draft.value.values };
    if (value === null || value === "") delete values[name];
    else values[name] = value as string | number | boolean;
    this.#change({ values: fieldsFor(values) });
  }

  #prompt(now: Draft): TemplateResult {
    return html`
      <div class="field prompt">
        <label for="prompt">${this.t.prompt}</label>
        <textarea id="prompt" class="textarea" rows="4" spellcheck="true"
          placeholder=${this.t.promptPlaceholder} .value=${now.prompt}
          @input=${(event: Event) => {
            this.#change({ prompt: (event.target as HTMLTextAreaElement).value });
          }}></textarea>
        <imagen-prompts .prompt=${now.prompt} .count=${this.wanted?.wordings ?? 1}
          @take=${(event: CustomEvent<string>) => {
            this.#change({ prompt: event.detail });
            this.querySelector<HTMLElement>("#prompt")?.focus();
          }}></imagen-prompts>
        ${this.#variables(now)}
      </div>`;
  }

  #variables(now: Draft): TemplateResult | typeof nothing {
    const variables = variablesOf(now.prompt);
    if (variables.length === 0) return nothing;
    return html`<div class="variables">${variables.map(({ name, otherwise }) => html`
      <label><span class="label">${name}</span>
        <input class="input" placeholder=${otherwise} .value=${now.variables[name] ?? ""}
          @input=${(event: Event) => this.#change({
            variables: { ...now.variables, [name]: (event.target as HTMLInputElement).value },
          })}></label>`)}</div>`;
  }

  #references(now: Draft, model: Model | undefined): TemplateResult {
    const most = model?.max_references ?? 0;
    const isFull = now.references.length >= most;
    return html`
      <div class="field">
        <span class="label" id="references-label">${this.t.references}</span>
        ${most === 0 && now.references.length === 0
          ? html`<p class="hint">${this.t.noReferences(model?.name ?? "")}</p>`
          : html`<ul class="references" aria-labelledby="references-label">
            ${now.references.map((one, at) => html`<li>
              <img src=${previewLink(one)} alt=${one.name}>
              <button type="button" class="remove" aria-label=${this.t.removeReference(one.name)}
                @click=${() => this.#change({
                  references: now.references.filter((_, other) => other !== at),
                })}>${icon("close")}</button></li>`)}
            ${isFull ? nothing : html`<li><label class="add-reference">
              <input type="file" accept="image/*" multiple class="visually-hidden"
                aria-label=${this.t.addReference}
                @change=${(event: Event) => {
                  const input = event.target as HTMLInputElement;
                  void this.#take(input.files ?? []);
                  input.value = "";
                }}>${icon("add")}<span>${this.t.addReference}</span></label></li>`}
          </ul>
          ${now.references.length > most
            ? html`<p class="hint sentence-bad">${this.t.tooManyReferences(model?.name ?? "", most)}</p>`
            : nothing}`}
      </div>`;
  }

  #count(now: Draft): TemplateResult {
    const set = (count: number): void =>
      this.#change({ count: Math.max(1, Math.min(MOST_IMAGES, Math.round(count) || 1)) });
    return html`
      <div class="field">
        <label for="count">${this.t.howMany}</label>
        <div class="count-row">
          <div class="segments" role="group" aria-label=${this.t.howMany}>
            ${COUNTS.map((count) => html`<button type="button" aria-pressed=${now.count === count}
              @click=${() => set(count)}>${count}</button>`)}
          </div>
          <input id="count" class="input number" type="number" min="1" max=${MOST_IMAGES} inputmode="numeric"
            .value=${String(now.count)} @change=${(event: Event) =>
              set(Number((event.target as HTMLInputElement).value))}>
        </div>
      </div>`;
  }

  #footer(model: Model | undefined): TemplateResult {
    const { quote } = this;
    const left = session.left();
    return html`
      <div class="composer-foot">
        ${this.problem === "" ? nothing : html`<p class="note bad" role="alert">
          ${icon("warning")}<span>${this.problem}</span></p>`}
        ${model !== undefined && !model.has_key ? html`<p class="note warm">
          ${icon("key")}<span>${this.t.noKey(model.provider)}</span></p>` : nothing}
        <div class="price-row">
          <p class="price" aria-live="polite">${quote === null
            ? html`<span class="hint">${this.t.priceSoon}</span>`
            : html`<strong class="number">${this.t.price(quote.expected_usd, quote.high_usd)}</strong>
              <span class="hint">${quote.high_usd === null
                ? this.t.priceUnknown : this.t.forImages(quote.images)}</span>`}</p>
          ${left === null ? nothing : html`<span class="hint number">${this.t.left(left)}</span>`}
        </div>
        <button class="button primary make" type="submit"
          ?disabled=${this.isStarting || !this.#canMake()}>
          ${icon("make")}<span>${this.t.makeImages(quote?.images ?? draft.value.count)}</span>
          <kbd>Ctrl ⏎</kbd></button>
      </div>`;
  }

  // --- files --------------------------------------------------------------------

  async #take(files: Iterable<File>): Promise<void> {
    try {
      const taken = await takeFiles(files);
      this.#change({ references: [...draft.value.references, ...taken] });
    } catch (error) {
      this.problem = session.sentenceOf(error);
    }
  }

  async #takeImage(id: string): Promise<void> {
    if (draft.value.references.some((one) => "id" in one.input && one.input.id === id)) return;
    this.#change({ references: [...draft.value.references, referenceOf(id)] });
  }

  #onDragOver(event: DragEvent): void {
    const types = event.dataTransfer?.types ?? [];
    if (!types.includes("Files") && !types.includes("application/x-imagen-id")) return;
    event.preventDefault();
    this.isOver = true;
  }

  #onDrop(event: DragEvent): void {
    this.isOver = false;
    const id = event.dataTransfer?.getData("application/x-imagen-id") ?? "";
    const files = event.dataTransfer?.files ?? [];
    if (id === "" && files.length === 0) return;
    event.preventDefault();
    if (id === "") void this.#take(files);
    else void this.#takeImage(id);
  }

  #onPaste(event: ClipboardEvent): void {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length === 0) return;
    event.preventDefault();
    void this.#take(files);
  }
}

function isNarrow(): boolean {
  return matchMedia("(max-width: 899px)").matches;
}

function previewLink(reference: Reference): string {
  return "id" in reference.input ? session.host.thumbnail(reference.input.id, 256) : reference.preview;
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-composer": Composer;
  }
}
