// Entry of the page: its host, the language and theme of this browser, then the shell.
import { keepThumbnails } from "./core/kept-thumbnails";
import { PageHost } from "./core/page-host";
import { followAddress } from "./core/route";
import { registerWorker } from "./core/service-worker";
import { session } from "./core/session";
import { followTheme, languageCode } from "./core/settings";
import { library } from "./gallery/library";
import { rememberDraft } from "./make/draft";
import { LANGUAGES, preferredLanguage, setLanguage, type Language } from "./messages/messages";
import "./shell";

followTheme();
followAddress();
session.use(new PageHost());
const chosen = languageCode.value in LANGUAGES ? (languageCode.value as Language) : preferredLanguage();
if (chosen !== "en") void setLanguage(chosen);
void rememberDraft();
void session.begin().then(() => library.begin());
addEventListener("offline", () => { session.connected.value = false; });
keepThumbnails();
void registerWorker();
