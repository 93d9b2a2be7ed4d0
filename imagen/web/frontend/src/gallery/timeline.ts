// The time line beside the gallery: years and months by their share of the height, to jump.
import { html, nothing, type TemplateResult } from "lit";
import { customElement, state } from "lit/decorators.js";
import { Part } from "../core/part";
import { clamp, type Layout } from "./layout";

interface Mark {
  readonly share: number;
  readonly text: string;
  readonly isYear: boolean;
}

const CLOSEST = 0.035;

@customElement("imagen-timeline")
export class Timeline extends Part {
  @state() private share = 0;
  @state() private marks: readonly Mark[] = [];
  @state() private hovered: number | null = null;
  #layout: Layout | null = null;

  show(layout: Layout, share: number): void {
    if (layout !== this.#layout) {
      this.#layout = layout;
      this.marks = marksOf(layout, this.t.month);
    }
    this.share = clamp(share, 0, 1);
  }

  protected override render(): TemplateResult | typeof nothing {
    const layout = this.#layout;
    if (layout === null || layout.spans.length < 2) return nothing;
    const shown = this.hovered ?? this.share;
    const text = this.t.day(layout.spans[layout.sectionAt(shown * layout.height)]!.key);
    return html`
      <div class="timeline" role="slider" tabindex="0" aria-orientation="vertical"
        aria-label=${this.t.timeline} aria-valuemin="0" aria-valuemax="100"
        aria-valuenow=${Math.round(this.share * 100)} aria-valuetext=${text}
        @pointerdown=${this.#onDown} @pointermove=${this.#onMove} @keydown=${this.#onKey}
        @pointerleave=${() => { this.hovered = null; }}>
        ${this.marks.map((mark) => html`
          <span class="timeline-mark ${mark.isYear ? "year" : ""}" .style=${`top:${mark.share * 100}%`}
            >${mark.text}</span>`)}
        <span class="timeline-hand" .style=${`top:${this.share * 100}%`}></span>
        <span class="timeline-bubble" .style=${`top:${shown * 100}%`}>${text}</span>
      </div>`;
  }

  #shareOf(event: PointerEvent): number {
    const box = this.querySelector(".timeline")!.getBoundingClientRect();
    return clamp((event.clientY - box.top) / box.height, 0, 1);
  }

  #onDown(event: PointerEvent): void {
    (event.currentTarget as HTMLElement).setPointerCapture(event.pointerId);
    this.#jump(this.#shareOf(event));
  }

  #onMove(event: PointerEvent): void {
    this.hovered = this.#shareOf(event);
    if (event.buttons === 1) this.#jump(this.hovered);
  }

  #onKey(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowUp: -0.01, ArrowDown: 0.01, PageUp: -0.1, PageDown: 0.1, Home: -1, End: 1,
    };
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#jump(clamp(this.share + step, 0, 1));
  }

  #jump(share: number): void {
    this.dispatchEvent(new CustomEvent("jump", { detail: share }));
  }
}

function marksOf(layout: Layout, month: (day: string) => string): Mark[] {
  const marks: Mark[] = [];
  let year = "";
  let last = -1;
  let lastMonth = "";
  for (const span of layout.spans) {
    const share = span.top / layout.height;
    const isYear = span.key.slice(0, 4) !== year;
    const isMonth = span.key.slice(0, 7) !== lastMonth;
    if (!isMonth || (share - last < CLOSEST && last >= 0)) continue;
    year = span.key.slice(0, 4);
    lastMonth = span.key.slice(0, 7);
    marks.push({ share, text: isYear ? year : month(span.key), isYear });
    last = share;
  }
  return marks;
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-timeline": Timeline;
  }
}
