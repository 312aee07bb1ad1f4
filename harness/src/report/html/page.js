"use strict";
(() => {
  const $ = (selector, root = document) => root.querySelector(selector);
  const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
  const overview = $("#overview"), trial = $("#trial"), rows = $$(".trials tbody tr");
  const PAGE = 500, KEPT = 3;

  // --- what is packed -----------------------------------------------------------------------------------------
  const unpack = async (index) => {
    const bytes = Uint8Array.from(atob($(`#data-${index}`).textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  };
  const kept = new Map();
  const details = (index) => {
    const known = kept.get(index) ?? unpack(index);
    kept.delete(index);
    kept.set(index, known);
    if (kept.size > KEPT) kept.delete(kept.keys().next().value);
    return known;
  };

  // --- searching ----------------------------------------------------------------------------------------------
  // Words, all of which must be there, or a regular expression between slashes; null for one that is wrong.
  const matcher = (text) => {
    const expression = /^\/(.+)\/$/.exec(text.trim());
    if (expression) {
      try {
        const wanted = new RegExp(expression[1], "i");
        return (line) => wanted.test(line);
      } catch {
        return null;
      }
    }
    const words = text.toLowerCase().split(/\s+/).filter(Boolean);
    return (line) => {
      const lower = line.toLowerCase();
      return words.every((word) => lower.includes(word));
    };
  };
  const later = (wait, act) => {
    let timer;
    return () => {
      clearTimeout(timer);
      timer = setTimeout(act, wait);
    };
  };

  // --- the list of trials -------------------------------------------------------------------------------------
  const list = $("#overview .filters"), told = $("output", list);
  let search = 0;
  const showTrials = async () => {
    const mine = ++search;
    const pressed = new Set($$("[data-verdict][aria-pressed=true]").map((button) => button.dataset.verdict));
    const text = list.elements.trials.value, matches = matcher(text);
    if (!matches) return void (told.textContent = "This is no regular expression.");
    const inLogs = list.elements.logs.checked && text.trim() !== "";
    let shown = 0, hits = 0;
    for (const row of rows) {
      let show = pressed.size === 0 || pressed.has(row.dataset.verdict);
      $(".hits", row)?.remove();
      if (show && inLogs) {
        const found = matches(row.textContent) ? 1 : 0;
        const log = (await unpack(row.dataset.index)).log;
        if (mine !== search) return;
        const count = log ? log.text.filter(matches).length : 0;
        show = found + count > 0;
        hits += count;
        if (count > 0) {
          const note = document.createElement("span");
          note.className = "hits faint";
          note.textContent = ` ${count} lines`;
          $(".says", row).append(note);
        }
      } else if (show) {
        show = matches(row.textContent);
      }
      row.hidden = !show;
      shown += show ? 1 : 0;
    }
    told.textContent = shown === rows.length && !inLogs ? "" : `${shown} of ${rows.length} trials${inLogs ? `, ${hits} lines` : ""}`;
  };
  const showTrialsSoon = later(150, showTrials);
  list.addEventListener("input", showTrialsSoon);
  list.addEventListener("submit", (event) => event.preventDefault());
  for (const button of $$("header [data-verdict]")) {
    button.addEventListener("click", () => {
      button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
      if (location.hash) location.hash = "";
      showTrials();
    });
  }

  // --- one trial's log ----------------------------------------------------------------------------------------
  const showLog = (log) => {
    const form = $("#log .filters"), body = $("#log tbody"), more = $("#log .more"), output = $("output", form);
    const order = [...log.at.keys()].sort((a, b) => log.at[a] - log.at[b] || log.seq[a] - log.seq[b]);
    const units = $("#log-units");
    for (const unit of new Set(log.unit.map((place) => log.names[place]).filter(Boolean))) {
      units.append(new Option(unit, unit));
    }
    let found = [], from = 0, to = 0, aim = null;
    // Of a trial with several nodes.
    const node = (index) => (log.node ? log.names[log.node[index]] : "");
    const line = (index) => {
      const row = document.createElement("tr"), priority = log.priority[index];
      row.className = priority <= 3 ? "error" : priority === 4 ? "warning" : priority === 5 && log.kind[index] === "e" ? "notice-row" : "";
      row.dataset.row = log.seq[index];
      row.title = `${log.names[log.unit[index]]}  timeline.jsonl:${log.seq[index] + 1}`;
      if (log.seq[index] === aim) row.className += " aim";
      for (const text of [(log.at[index] / 1000).toFixed(3), `${node(index)} ${log.boot[index] || !log.node ? log.boot[index] : ""}`.trim(), log.names[log.who[index]], log.text[index]]) {
        row.insertCell().textContent = text;
      }
      return row;
    };
    const draw = (begin, end) => {
      [from, to] = [begin, Math.min(end, found.length)];
      body.replaceChildren(...found.slice(from, to).map(line));
      more.hidden = to >= found.length;
    };
    const filter = () => {
      const matches = matcher(form.elements.text.value);
      if (!matches) return void (output.textContent = "This is no regular expression.");
      const kinds = new Set($$("[name=kind]:checked", form).map((box) => box.value));
      const own = form.elements.node?.value ?? "", boot = form.elements.boot.value, unit = form.elements.unit.value, priority = Number(form.elements.priority.value);
      found = order.filter(
        (index) =>
          kinds.has(log.kind[index]) &&
          (log.kind[index] !== "j" || log.priority[index] <= priority) &&
          (own === "" || node(index) === own) &&
          (boot === "" || log.boot[index] === Number(boot)) &&
          (unit === "" || log.names[log.unit[index]].includes(unit)) &&
          matches(log.text[index]),
      );
      output.textContent = `${found.length} of ${order.length} lines`;
    };
    const show = () => {
      filter();
      draw(0, PAGE);
    };
    more.addEventListener("click", () => {
      const begin = to;
      to = Math.min(to + PAGE, found.length);
      body.append(...found.slice(begin, to).map(line));
      more.hidden = to >= found.length;
    });
    form.addEventListener("input", later(150, show));
    form.addEventListener("submit", (event) => event.preventDefault());
    if (list.elements.logs.checked) form.elements.text.value = list.elements.trials.value;
    show();
    // Takes the reader to an event, whatever is filtered.
    return (seq) => {
      aim = seq;
      filter();
      if (!found.some((index) => log.seq[index] === seq)) {
        form.reset();
        form.elements.priority.value = "7";
        for (const box of $$("[name=kind]", form)) box.checked ||= box.value === log.kind[log.seq.indexOf(seq)];
        filter();
      }
      const place = found.findIndex((index) => log.seq[index] === seq);
      draw(Math.max(0, place - 60), place + PAGE);
      const row = $(`[data-row="${seq}"]`, body);
      $("#log").scrollIntoView({ block: "start" });
      if (!row) return;
      row.tabIndex = -1;
      row.focus({ preventScroll: true });
      row.scrollIntoView({ block: "center" });
    };
  };

  // --- one trial ----------------------------------------------------------------------------------------------
  let shown = null, goTo = null;
  const title = document.title;
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text;
    }
  };
  const address = (name, seq) => `#/${encodeURIComponent(name)}?e=${seq}`;
  const route = async () => {
    // A link within the page, such as the one that skips to the content.
    if (location.hash !== "" && !location.hash.startsWith("#/")) return;
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?e=");
    const name = decoded(path), called = (one) => $("th a", one).textContent;
    const row = rows.find((one) => called(one) === name);
    overview.hidden = Boolean(row);
    trial.hidden = !row;
    document.title = row ? `${name} – ${title}` : title;
    if (!row) {
      if (name) told.textContent = `There is no trial ${name} here.`;
      // Back where the trial was entered.
      const before = rows.find((one) => called(one) === shown);
      trial.replaceChildren();
      shown = null;
      if (before) $("th a", before).focus();
      return;
    }
    if (shown !== name) {
      shown = name;
      let data;
      try {
        data = await details(row.dataset.index);
      } catch (error) {
        trial.textContent = `The details can't be unpacked: ${error}. They need a browser of 2023 or later.`;
        return;
      }
      // Another one may have been asked for meanwhile.
      if (shown !== name) return;
      const back = document.createElement("p");
      const link = document.createElement("a");
      link.href = "#";
      link.textContent = "← all trials";
      back.append(link);
      trial.innerHTML = data.html;
      trial.prepend(back);
      goTo = data.log ? showLog(data.log) : null;
      for (const element of $$("[data-seq]", trial)) {
        if (element instanceof HTMLAnchorElement) element.href = address(name, element.dataset.seq);
      }
      if (query === "") {
        scrollTo(0, 0);
        $("#trial-heading").focus({ preventScroll: true });
      }
    }
    if (query !== "") goTo?.(Number(query));
  };
  trial.addEventListener("click", (event) => {
    const element = event.target.closest("[data-seq]");
    if (!element) return;
    const there = address(shown, element.dataset.seq);
    // Asked for again, it is gone to again; a link leads there by itself.
    if (location.hash === there) goTo?.(Number(element.dataset.seq));
    else if (!(element instanceof HTMLAnchorElement)) location.hash = there;
  });
  addEventListener("hashchange", route);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.matches("input, select, textarea")) return;
    if (event.key === "/") {
      event.preventDefault();
      (trial.hidden ? list.elements.trials : $("#log [name=text]"))?.focus();
    } else if (event.key === "Escape" && !trial.hidden) {
      location.hash = "";
    }
  });

  // --- light and dark -----------------------------------------------------------------------------------------
  const root = document.documentElement;
  // A page from a file may have no storage.
  const remembered = (value) => {
    try {
      if (value) localStorage.setItem("day1-theme", value);
      return localStorage.getItem("day1-theme");
    } catch {
      return null;
    }
  };
  const theme = remembered();
  if (theme) root.dataset.theme = theme;
  $("#theme").addEventListener("click", () => {
    const isDark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    remembered(root.dataset.theme);
  });

  route();
})();
