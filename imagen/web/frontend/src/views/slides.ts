// Slide show of the present search, from one image on.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, property, state } from "lit/decorators.js";
import type { Row } from "../core/api";
import { icon } from "../core/icons";
import { Part } from "../core/part";
import { go, linkTo } from "../core/route";
import { session } from "../core/session";
import { library } from "../gallery/library";

const SECONDS = 5;

@customElement("imagen-slides")
export class Slides extends Part {
  @property() start = "";
  @state() private row: Row | null = null;
  @state() private isPaused = matchMedia("(prefers-reduced-motion: reduce)").matches;
  #ordinal: number | null = null;

  override connectedCallback(): void {
    super.connectedCallback();
    this.on(document, "keydown", (event: KeyboardEvent) => this.#onKey(event));
    const clock = setInterval(() => {
      if (!this.isPaused) void this.#go(1);
    }, SECONDS * 1000);
    this.untilGone(() => clearInterval(clock));
    if (library.source.value === null) library.want({});
    this.untilGone(library.source.listen(() => { if (this.row === null) void this.#go(0); }));
    void this.#go(0);
  }

  protected override render(): TemplateResult {
    const id = this.row?.id ?? this.start;
    return html`
      <div class="slides">
        <img src=${session.host.thumbnail(id, 2048)} alt=${this.row?.prompt || this.t.theImage}>
        <div class="slides-bar">
          <button class="button icon-only" aria-label=${this.t.previous} @click=${() => void this.#go(-1)}
            >${icon("left")}</button>
          <button class="button icon-only" aria-label=${this.isPaused ? this.t.play : this.t.pause}
            @click=${() => { this.isPaused = !this.isPaused; }}
            >${icon(this.isPaused ? "play" : "stop")}</button>
          <button class="button icon-only" aria-label=${this.t.next} @click=${() => void this.#go(1)}
            >${icon("right")}</button>
          <a class="button icon-only" href=${linkTo("image", id)} aria-label=${this.t.close}
            >${icon("close")}</a>
        </div>
        ${this.row?.prompt ? html`<p class="slides-prompt">${this.row.prompt}</p>` : nothing}
      </div>`;
  }

  async #go(by: number): Promise<void> {
    const source = library.source.value;
    if (source === null || source.total === 0) return;
    this.#ordinal ??= source.ordinalOf(this.start) ?? 0;
    this.#ordinal = (this.#ordinal + by + source.total) % source.total;
    this.row = (await source.rowAt(this.#ordinal)) ?? this.row;
  }

  #onKey(event: KeyboardEvent): void {
    const actions: Record<string, () => void> = {
      ArrowLeft: () => void this.#go(-1),
      ArrowRight: () => void this.#go(1),
      p: () => { this.isPaused = !this.isPaused; },
      Escape: () => go(linkTo("image", this.row?.id ?? this.start)),
    };
    actions[event.key]?.();
  }
}
