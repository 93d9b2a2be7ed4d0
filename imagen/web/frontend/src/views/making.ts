// What is being made now: a place for each request at once, images as they arrive, cost so far.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import type { Place } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { linkTo } from "../core/route";
import { session, type LiveBatch } from "../core/session";
import { draft } from "../make/draft";

const SECOND = 1000;
// The places of a large batch are counted, not drawn.
const MOST_PLACES = 60;
// Places change many times a second; those changes are drawn together.
const PAUSE = 120;

@customElement("imagen-making")
export class Making extends Part {
  @state() private now = Date.now() / SECOND;
  #drawnAt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  override connectedCallback(): void {
    super.connectedCallback();
    const clock = setInterval(() => {
      if (session.shownBatches().some((batch) => batch.state === "running")) this.now = Date.now() / SECOND;
    }, SECOND);
    this.untilGone(() => clearInterval(clock));
    this.untilGone(session.batches.listen(() => {
      this.#timer ??= setTimeout(() => this.requestUpdate(), this.#drawnAt + PAUSE - Date.now());
    }));
  }

  protected override updated(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#drawnAt = Date.now();
  }

  protected override render(): TemplateResult | typeof nothing {
    const batches = session.shownBatches();
    if (batches.length === 0) return nothing;
    return html`<section class="making" aria-label=${this.t.making}>
      ${batches.map((batch) => this.#batch(batch))}</section>`;
  }

  #batch(batch: LiveBatch): TemplateResult {
    const done = batch.succeeded + batch.failed;
    const share = batch.requested === 0 ? 0 : (done / batch.requested) * 100;
    return html`
      <article class="batch" data-batch=${batch.id} data-state=${batch.state}>
        <header>
          <div class="batch-words">
            <p class="batch-prompt">${batch.prompt || this.t.withoutPrompt}</p>
            <p class="hint number" role="status">${this.#counts(batch)}</p>
          </div>
          ${this.#headActions(batch)}
        </header>
        <span class="bar" aria-hidden="true"><i .style=${`width:${share}%`}></i></span>
        ${batch.error === null ? nothing : html`<p class="note bad">${icon("warning")}
          <span>${batch.error.sentence}</span></p>`}
        <ol class="places">${batch.places.slice(0, MOST_PLACES).map((place) =>
          html`<li class="place" data-state=${place.state}>${this.#place(batch, place)}</li>`)}
          ${batch.places.length > MOST_PLACES ? html`<li class="place">
            ${this.t.andMore(batch.places.length - MOST_PLACES)}</li>` : nothing}</ol>
      </article>`;
  }

  #headActions(batch: LiveBatch): TemplateResult {
    if (batch.state === "running") {
      return html`<button class="button small" @click=${() => void session.cancel(batch.id)}
        >${icon("stop")}${this.t.cancelAll}</button>`;
    }
    const left = batch.places.filter((place) => place.state === "lost" || place.state === "dropped");
    return html`<span class="batch-actions">
      ${batch.state === "interrupted" ? html`
        <button class="button small" @click=${() => void session.reopen(batch.id)}
          >${icon("download")}${this.t.collectPaid}</button>` : nothing}
      ${left.length > 0 && batch.state !== "interrupted" ? html`
        <button class="button small" @click=${() => void session.startOrSay(
          left.map((place) => place.request))}>${icon("again")}${this.t.makeRest(left.length)}</button>`
        : nothing}
      <button class="button quiet small icon-only" aria-label=${this.t.dismiss}
        title=${this.t.dismiss} @click=${() => session.dismiss(batch.id)}>${icon("close")}</button></span>`;
  }

  #counts(batch: LiveBatch): string {
    const isRunning = batch.state === "running";
    const began = Date.parse(batch.started_at ?? "") / SECOND;
    const parts = [
      batch.models.join(", "),
      this.t.doneOf(batch.succeeded + batch.failed, batch.requested),
      this.t.soFar(batch.cost_usd),
      ...(batch.failed > 0 ? [this.t.failedCount(batch.failed)] : []),
      ...(isRunning && began > 0 ? [this.t.seconds(Math.max(0, this.now - began))] : []),
      ...(isRunning ? [] : [this.t.batchState(batch.state)]),
    ];
    return parts.filter(Boolean).join(" · ");
  }

  #place(batch: LiveBatch, place: Place): TemplateResult {
    const name = this.t.placeName(place.index + 1);
    if (place.state === "done" && place.image !== null) {
      return html`<a href=${linkTo("image", place.image.id)}
        ><img src=${session.host.thumbnail(place.image.id, 256)} alt=${batch.prompt || name}></a>`;
    }
    if (place.state === "failed") return this.#failure(batch, place, name);
    const isWaiting = place.state === "waiting" || place.state === "queued";
    return html`${this.#preview(batch, place)}
      <span class="place-text number">${this.#elapsed(place)}</span>
      ${batch.state === "running" && isWaiting ? html`
        <button class="place-drop" aria-label=${this.t.drop(name)} title=${this.t.drop(name)}
          @click=${() => void session.drop(batch.id, place.index)}>${icon("close")}</button>` : nothing}`;
  }

  #preview(batch: LiveBatch, place: Place): TemplateResult | typeof nothing {
    if (place.state !== "sent" || place.previews === 0) return nothing;
    const link = `batches/${batch.id}/places/${place.index}/preview?${place.previews}`;
    return html`<img class="preview" src=${session.host.link(link)} alt="">`;
  }

  #elapsed(place: Place): string {
    if (place.state !== "sent" || place.sent_at === null) return this.t.placeState(place.state);
    const seconds = this.t.seconds(Math.max(0, this.now - Date.parse(place.sent_at) / SECOND));
    return place.fraction === null ? seconds : `${Math.round(place.fraction * 100)} % · ${seconds}`;
  }

  #failure(batch: LiveBatch, place: Place, name: string): TemplateResult {
    const sentence = place.error?.sentence ?? this.t.placeState("failed");
    return html`
      <p class="place-sentence" title=${sentence}>${sentence}</p>
      <div class="place-actions">
        <button class="button small" aria-label=${`${this.t.tryAgain}: ${name}`}
          @click=${() => void session.again(batch, place.index)}>${icon("again")}${this.t.tryAgain}</button>
        <button class="button small quiet" aria-label=${`${this.t.otherModel}: ${name}`}
          @click=${() => this.#withOtherModel(place)}>${this.t.otherModel}</button>
      </div>`;
  }

  /** Take the prompt into the dialog, and open the chooser. */
  #withOtherModel(place: Place): void {
    draft.value = { ...draft.value, prompt: String(place.request["prompt"] ?? "") };
    document.querySelector<HTMLElement>(".model-card")?.click();
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-making": Making;
  }
}
