// The frame around the views: navigation, what is left of the budget, connection, toasts.
import { html, nothing, type TemplateResult } from "lit";
import { customElement } from "lit/decorators.js";
import { icon, type IconName } from "./core/icons";
import { Part } from "./core/part";
import { linkTo, route, type Route } from "./core/route";
import { languageCode, theme, type Theme } from "./core/settings";
import { session } from "./core/session";
import { LANGUAGES, setLanguage, type Language } from "./messages/messages";
import "./make/composer";
import "./views/images";
import "./views/consent";
import "./views/toasts";

type View = (route: Route) => TemplateResult;

const THEMES: readonly Theme[] = ["auto", "light", "dark"];

// A view that is not the first one is fetched when it is opened.
const LATER: Record<string, { load: () => Promise<unknown>; show: View }> = {
  image: {
    load: () => import("./views/details"),
    show: ({ rest }) => html`<imagen-details .imageId=${rest}></imagen-details>`,
  },
  edit: {
    load: () => import("./editor/editor"),
    show: ({ rest }) => html`<imagen-editor .imageId=${rest}></imagen-editor>`,
  },
  compare: {
    load: () => import("./views/compare"),
    show: ({ rest }) => html`<imagen-compare .ids=${rest.split(",")}></imagen-compare>`,
  },
  show: {
    load: () => import("./views/slides"),
    show: ({ rest }) => html`<imagen-slides .start=${rest}></imagen-slides>`,
  },
  spending: {
    load: () => import("./views/spending"),
    show: () => html`<imagen-spending></imagen-spending>`,
  },
};

@customElement("imagen-shell")
export class Shell extends Part {
  #loaded = new Set<string>();

  protected override render(): TemplateResult {
    const now = this.read(route);
    const isStudio = !(now.view in LATER);
    return html`
      <a class="skip" href="#main" @click=${this.#skip}>${this.t.skip}</a>
      ${this.#header(now)}
      <main id="main" tabindex="-1" class=${isStudio ? "studio" : "single"}
        data-view=${now.view === "" ? "images" : now.view}>
        <imagen-composer class="composer" ?hidden=${!isStudio}></imagen-composer>
        <imagen-images class="images" ?hidden=${!isStudio}></imagen-images>
        ${isStudio ? nothing : this.#later(now)}
      </main>
      ${this.#tabs(now)}
      <imagen-consent></imagen-consent>
      <imagen-toasts></imagen-toasts>`;
  }

  #later(now: Route): TemplateResult {
    const view = LATER[now.view]!;
    if (this.#loaded.has(now.view)) return view.show(now);
    void view.load().then(() => {
      this.#loaded.add(now.view);
      this.requestUpdate();
    }).catch(() => session.say(this.t.viewMissing));
    return html`<p class="view-loading" role="status">${this.t.loading}</p>`;
  }

  #header(now: Route): TemplateResult {
    return html`
      <header class="top">
        <a class="brand" href="#/">${mark()}<span>imagen</span></a>
        <nav class="top-nav" aria-label=${this.t.views}>
          ${this.#navLink(now, "", "gallery", this.t.images)}
          ${this.#navLink(now, "spending", "money", this.t.spending)}
        </nav>
        <span class="top-space"></span>
        ${this.#connection()} ${this.#budget()} ${this.#language()} ${this.#theme()}
      </header>`;
  }

  #navLink(now: Route, view: string, name: IconName, text: string): TemplateResult {
    const isHere = now.view === view;
    return html`<a class="nav-link" href=${linkTo(view)} aria-current=${isHere ? "page" : nothing}
      >${icon(name)}<span>${text}</span></a>`;
  }

  #tabs(now: Route): TemplateResult {
    return html`
      <nav class="tabs" aria-label=${this.t.views}>
        ${this.#navLink(now, "", "gallery", this.t.images)}
        ${this.#navLink(now, "make", "make", this.t.make)}
        ${this.#navLink(now, "spending", "money", this.t.spending)}
      </nav>`;
  }

  #connection(): TemplateResult | typeof nothing {
    if (this.read(session.connected)) return nothing;
    return html`<span class="pill bad" role="status">${icon("offline")}<span>${this.t.offline}</span></span>`;
  }

  #budget(): TemplateResult | typeof nothing {
    this.read(session.state);
    const left = session.left();
    if (left === null) return nothing;
    return html`<a class="pill" href=${linkTo("spending")} title=${this.t.budgetLeftTitle}
      ><span class="number">${this.t.left(left)}</span></a>`;
  }

  #language(): TemplateResult {
    const change = (event: Event): void => {
      const code = (event.target as HTMLSelectElement).value as Language;
      languageCode.value = code;
      void setLanguage(code);
    };
    return html`
      <label class="language" title=${this.t.languageLabel}>${icon("globe")}
        <span class="visually-hidden">${this.t.languageLabel}</span>
        <select @change=${change}>
          ${Object.entries(LANGUAGES).map(([code, name]) => html`
            <option value=${code} ?selected=${this.t.code === code}>${name}</option>`)}
        </select></label>`;
  }

  #theme(): TemplateResult {
    const now = this.read(theme);
    const text = this.t.theme(now);
    return html`<button class="button quiet icon-only" aria-label=${text} title=${text}
      @click=${() => { theme.value = THEMES[(THEMES.indexOf(now) + 1) % THEMES.length]!; }}
      >${icon("sun", now === "dark")}</button>`;
  }

  #skip(event: Event): void {
    event.preventDefault();
    this.querySelector<HTMLElement>("#main")?.focus();
  }
}

function mark(): TemplateResult {
  return html`<svg class="brand-mark" viewBox="0 0 24 24" aria-hidden="true">
    <rect x="2.5" y="4" width="19" height="16" rx="3"></rect>
    <circle cx="15.5" cy="9.5" r="2.2"></circle>
    <path d="m3 18.5 5.5-6 3.5 4 2.5-2.5 4.5 5"></path></svg>`;
}

declare global {
  interface HTMLElementTagNameMap {
    "imagen-shell": Shell;
  }
}
