import { html, type TemplateResult } from "lit";
import { icon } from "../core/icons";
import type { Messages } from "../messages/messages";

/** Five stars to press; pressing the last one again takes them away. */
export function starsOf(
  stars: number, t: Messages, rate: (stars: number) => void,
): TemplateResult {
  return html`<span class="stars" role="group" aria-label=${t.stars}>
    ${[1, 2, 3, 4, 5].map((value) => html`
      <button type="button" class=${value <= stars ? "on" : ""} aria-pressed=${value <= stars}
        aria-label=${t.starCount(value)} title=${t.starCount(value)}
        @click=${() => rate(value === stars ? 0 : value)}>${icon("star", value <= stars)}</button>`)}
  </span>`;
}
