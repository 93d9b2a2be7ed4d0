import { svg, html, type TemplateResult } from "lit";

const PATHS = {
  make: "M12 3v3M12 18v3M3 12h3M18 12h3M6 6l1.8 1.8M16.2 16.2 18 18M6 18l1.8-1.8M16.2 7.8 18 6",
  gallery: "M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z",
  money: "M4 20V10M10 20V4M16 20v-7M21 20H3",
  search: "M10.5 17a6.5 6.5 0 1 0 0-13 6.5 6.5 0 0 0 0 13ZM20 20l-4.8-4.8",
  close: "M6 6l12 12M18 6 6 18",
  star: "m12 4 2.5 5.1 5.6.8-4 4 .9 5.6-5-2.7-5 2.7.9-5.6-4-4 5.6-.8z",
  trash: "M5 7h14M10 7V4.5h4V7M7 7l.8 12.5h8.4L17 7M10 11v5M14 11v5",
  tag: "M4 12V4h8l8 8-8 8zM8.5 8.5h.01",
  check: "m5 12.5 4.5 4.5L19 7.5",
  undo: "M9 8H4V3M4.5 8A8 8 0 1 1 4 13",
  redo: "M15 8h5V3M19.5 8A8 8 0 1 0 20 13",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  left: "m14 6-6 6 6 6",
  right: "m10 6 6 6-6 6",
  down: "m6 10 6 6 6-6",
  edit: "M4 20h4L19.5 8.5l-4-4L4 16zM13 7l4 4",
  vary: "M8 4h12v12H8zM4 8v12h12",
  enhance: "M14 4h6v6M20 4l-7 7M10 20H4v-6M4 20l7-7",
  compare: "M12 3v18M5 6h4v12H5zM15 6h4v12h-4z",
  play: "M8 5v14l11-7z",
  download: "M12 4v11M7 11l5 5 5-5M5 20h14",
  info: "M12 11v5M12 8h.01M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18Z",
  add: "M12 5v14M5 12h14",
  stop: "M7 7h10v10H7z",
  again: "M20 5v5h-5M19.5 10A8 8 0 1 0 20 14",
  brush: "M14 4.5c2-2 5.5 1.5 3.5 3.5L11 14.5 8 11.5zM8 11.5c-3 0-3.5 2.5-3.5 5 0 1.5-1 2.5-1.5 3 3 0 7.5 0 8-5",
  eraser: "m9 19-5-5L14 4l6 6-9 9zM9 9l6 6M8 19h12",
  lasso: "M12 15c-5 0-8-2.2-8-5s3.5-5 8-5 8 2.2 8 5-3 5-8 5Zm-5-1c-1.5 1.5-1 4 1.5 4S10 21 8 21",
  rectangle: "M4 6h16v12H4z",
  pan: "M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3",
  invert: "M12 21a9 9 0 1 0 0-18v18Z M12 3v18",
  fit: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  crop: "M7 3v14h14M3 7h14v14",
  sun: "M12 16a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5",
  tree: "M6 4v16M6 8h8M6 16h8M14 5h6v6h-6zM14 13h6v6h-6z",
  key: "M14.5 13a4.5 4.5 0 1 0-3.9-2.2L4 17.4V20h3v-2h2v-2h2l1.2-1.2",
  warning: "M12 4 2.5 20h19zM12 10v4M12 17h.01",
  globe: "M12 21a9 9 0 1 0 0-18 9 9 0 0 0 0 18ZM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
  offline: "M3 3l18 18M5 12.5a10 10 0 0 1 4-2.3M2 9a14 14 0 0 1 5-3M12 6a14 14 0 0 1 10 3M15.5 11a10 10 0 0 1 3.5 1.5M8.5 16a5 5 0 0 1 7 0M12 19.5h.01",
  image: "M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15 9h.01",
  book: "M5 4h10a3 3 0 0 1 3 3v13H8a3 3 0 0 1-3-3zM5 17a3 3 0 0 1 3-3h10",
  dice: "M5 5h14v14H5zM9 9h.01M15 9h.01M12 12h.01M9 15h.01M15 15h.01",
} as const;

export type IconName = keyof typeof PATHS;

export function icon(name: IconName, filled = false): TemplateResult {
  const path = svg`<path d=${PATHS[name]} fill=${filled ? "currentColor" : "none"}></path>`;
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true">${path}</svg>`;
}
