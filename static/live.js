// Keeps the page true without reloading it: the server sends the same parts that the page was made of, and each takes the
// place of the one with its id. The protocol is drawn in frontend/src/live.rs. Without this file every page works.
"use strict";

(() => {
  // What a person set and the server does not know: it stays when its element is brought up to date.
  const KEPT = { DETAILS: ["open"], INPUT: ["value", "checked"], OPTION: ["selected"] };

  const parse = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content;
  };

  const copyAttributes = (from, to) => {
    const kept = KEPT[to.tagName] ?? [];
    for (const { name, value } of from.attributes) {
      if (!kept.includes(name) && to.getAttribute(name) !== value) to.setAttribute(name, value);
    }
    for (const name of to.getAttributeNames()) {
      if (!kept.includes(name) && !from.hasAttribute(name)) to.removeAttribute(name);
    }
  };

  // Whether `to` can become `from` without being another element.
  const alike = (from, to) =>
    to && from.nodeType === to.nodeType && from.nodeName === to.nodeName && (from.id ?? "") === (to.id ?? "");

  // Makes `to` equal to `from` in place, so that focus, selection, scroll position and open details survive.
  const become = (from, to) => {
    if (from.nodeType !== Node.ELEMENT_NODE) {
      if (to.data !== from.data) to.data = from.data;
      return;
    }
    copyAttributes(from, to);
    // What another script has drawn there is its own.
    if (to.matches(".plot")) return;
    let here = to.firstChild;
    for (const child of [...from.childNodes]) {
      let match = here;
      if (child.id) match = [...to.children].find((other) => other.id === child.id);
      if (alike(child, match)) {
        if (match === here) here = here.nextSibling;
        else to.insertBefore(match, here);
        become(child, match);
      } else if (alike(child, here) && !here.id) {
        const next = here.nextSibling;
        become(child, here);
        here = next;
      } else {
        to.insertBefore(child, here);
      }
    }
    while (here) {
      const next = here.nextSibling;
      here.remove();
      here = next;
    }
  };

  const isAtEnd = (box) => box.scrollHeight - box.scrollTop - box.clientHeight < 40;

  const place = (element) => {
    const there = element.id && document.getElementById(element.id);
    if (there) {
      become(element, there);
      return;
    }
    const list = document.getElementById(element.dataset.into ?? element.dataset.before ?? "");
    if (!list) return;
    if (element.dataset.into) list.append(element);
    else list.prepend(element);
    const most = Number(list.dataset.most ?? 0);
    while (most > 0 && list.childElementCount > most) (element.dataset.into ? list.firstElementChild : list.lastElementChild).remove();
  };

  const receive = (html) => {
    const box = document.querySelector("[data-follow]");
    const follows = box && isAtEnd(box);
    const focused = document.activeElement;
    for (const element of [...parse(html).children]) place(element);
    // An element that had to be moved lost its focus on the way.
    if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
    applyFilter();
    if (follows) box.scrollTop = box.scrollHeight;
  };

  // The stream. A hidden page closes it: a browser opens few connections to one host, and nobody is looking.
  const main = document.getElementById("main");
  const link = document.getElementById("link");
  let source = null;

  const say = (state, words) => {
    if (!link) return;
    link.hidden = false;
    link.className = `link ${state}`;
    if (link.textContent !== words) link.textContent = words;
  };

  const connect = () => {
    if (source || !main?.dataset.live || document.hidden) return;
    source = new EventSource(main.dataset.live);
    source.onopen = () => say("on", "live");
    source.onmessage = (message) => receive(message.data);
    source.addEventListener("gone", (message) => {
      const element = document.getElementById(message.data);
      if (element?.matches("tr, li")) {
        const list = element.parentElement;
        element.remove();
        // The page of an empty list is another one, with a way to begin.
        if (list.childElementCount === 0) location.reload();
      } else if (element) location.assign(element.dataset.gone ?? "/containers");
    });
    source.onerror = () => {
      say("off", "reconnecting");
      // The browser gives up on an answer that is no stream (a server that is just starting, a login that ended).
      if (source.readyState === EventSource.CLOSED) {
        disconnect();
        setTimeout(connect, 3000);
      }
    };
  };

  const disconnect = () => {
    source?.close();
    source = null;
  };

  document.addEventListener("visibilitychange", () => (document.hidden ? disconnect() : connect()));
  addEventListener("pagehide", disconnect);
  addEventListener("pageshow", connect);

  // Buttons that stay on their page: the answer's main part takes the place of this one, and scroll position stays.
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("[data-quiet]") || !event.submitter) return;
    event.preventDefault();
    const button = event.submitter;
    const body = new URLSearchParams(new FormData(form, button));
    button.setAttribute("aria-busy", "true");
    form.querySelectorAll("details[open]").forEach((details) => (details.open = false));
    try {
      const response = await fetch(button.formAction, { method: "POST", body });
      const page = new DOMParser().parseFromString(await response.text(), "text/html");
      const fresh = page.getElementById("main");
      if (!fresh || (response.ok && new URL(response.url).pathname !== location.pathname)) {
        location.assign(response.ok ? response.url : location.href);
        return;
      }
      if (response.ok) become(fresh, main);
      else show(page);
      applyFilter();
    } catch {
      say("off", "no answer");
    } finally {
      button.removeAttribute("aria-busy");
    }
  });

  // What went wrong, said in the notice of this page: its heading and its sentences.
  const show = (page) => {
    const words = [...page.querySelectorAll("#main h1, #main .problem > p:not(.status, .submit), #main .end h2, #main .end p")];
    const notice = document.createElement("p");
    notice.className = "notice bad";
    notice.textContent = words.map((element) => element.textContent.trim()).filter(Boolean).join(": ");
    const box = document.getElementById("notice");
    box?.replaceChildren(notice);
    box?.scrollIntoView({ block: "nearest" });
  };

  // Filters the rows of the list by what is typed; offered only where this script runs.
  const filter = document.querySelector("[data-filter]");
  const applyFilter = () => {
    if (!filter) return;
    const words = filter.value.trim().toLowerCase().split(/\s+/);
    const rows = document.getElementById(filter.dataset.filter)?.rows ?? [];
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  };
  if (filter) {
    filter.hidden = false;
    filter.addEventListener("input", applyFilter);
    applyFilter();
  }

  // A menu closes when something else is pressed, and by Escape.
  const closeMenus = (except) =>
    document.querySelectorAll("details.menu[open]").forEach((menu) => menu !== except && (menu.open = false));
  document.addEventListener("click", (event) => closeMenus(event.target.closest?.("details.menu")));
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = event.target.closest?.("details.menu[open]");
    closeMenus(null);
    menu?.querySelector("summary")?.focus();
  });

  const log = document.querySelector("[data-follow]");
  if (log) log.scrollTop = log.scrollHeight;
  connect();
})();
