// Keys for what the page does without them: every key presses a button or follows a link that is there.
"use strict";
(() => {
  const shortcuts = document.documentElement.dataset.shortcuts === "on";
  const typing = (at) => at && (at.isContentEditable || (at.matches("input, textarea, select") && !at.matches("[type=radio]")));
  const visible = (at) => at && !at.disabled && at.getClientRects().length > 0;
  const keys = document.getElementById("keys");
  const help = document.querySelector("[data-keys-help]");
  let leader = false, sent = false;

  if (help && keys && shortcuts) {
    help.hidden = false;
    help.addEventListener("click", () => keys.showModal());
  }

  // one decision is sent once, however often a key is pressed
  document.addEventListener("submit", (event) => {
    if (event.target.method === "dialog") return;
    if (sent) { event.preventDefault(); return; }
    sent = true;
  });
  window.addEventListener("pageshow", () => { sent = false; });

  const rows = () => [...document.querySelectorAll("[data-row]")].filter(visible);
  const step = (by) => {
    const all = rows();
    if (!all.length) return;
    const now = all.indexOf(document.activeElement);
    const next = all[Math.min(all.length - 1, Math.max(0, now + by))] || all[0];
    document.querySelectorAll("[data-at]").forEach((at) => delete at.dataset.at);
    next.focus();
    next.closest("tr, .card").dataset.at = "";
  };

  const press = (at) => {
    if (at.matches("summary")) {
      at.parentElement.open = true;
      const field = at.parentElement.querySelector("input, textarea");
      if (field) field.focus();
    } else if (at.matches("input[type=radio]")) {
      at.checked = true;
      const groups = [...document.querySelectorAll("fieldset[data-output]")];
      const after = groups[groups.indexOf(at.closest("fieldset")) + 1];
      const next = after ? after.querySelector("input") : document.querySelector("button[data-key=Enter]");
      if (next) next.focus();
    } else at.click();
  };

  // the group of labels that keys choose in: the one that has the focus, else the first
  const group = () => (document.activeElement && document.activeElement.closest("fieldset[data-output]"))
    || document.querySelector("fieldset[data-output]");

  document.addEventListener("keydown", (event) => {
    const at = document.activeElement;
    if (event.key === "Escape" && typing(at)) { at.blur(); return; }
    if (!shortcuts || typing(at) || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (keys && keys.open) return;
    if (leader) {
      leader = false;
      const link = document.querySelector(`[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    if (event.key === "?" && keys) { event.preventDefault(); keys.showModal(); return; }
    if (event.key === "g") { leader = true; return; }
    if (event.key === "j" || event.key === "k") { step(event.key === "j" ? 1 : -1); return; }
    if (event.key === "Enter" && at && at.matches("a, button, summary, [role=option]") && !at.matches("[data-choose]")) return;
    const named = `[data-key="${CSS.escape(event.key)}"]`;
    const inGroup = /^[1-9/]$/.test(event.key) && group();
    const found = (inGroup && inGroup.querySelector(named)) || document.querySelector(named);
    if (visible(found)) { event.preventDefault(); press(found); }
  });

  // labels by a few words of them: what is typed is looked for, arrows and Enter choose
  for (const field of document.querySelectorAll("[data-find]")) {
    const list = document.getElementById(field.getAttribute("aria-controls"));
    const form = field.form, name = "field-" + field.dataset.outputName;
    let asked = 0, at = -1;
    field.disabled = false;
    const mark = (to) => {
      at = to;
      [...list.children].forEach((one, i) => one.setAttribute("aria-selected", String(i === at)));
      if (list.children[at]) {
        list.children[at].scrollIntoView({ block: "nearest" });
        field.setAttribute("aria-activedescendant", list.children[at].id);
      }
    };
    const choose = (label) => {
      form.querySelectorAll(`[name="${CSS.escape(name)}"]`).forEach((one) => { one.checked = false; });
      const given = document.createElement("input");
      Object.assign(given, { type: "hidden", name, value: label });
      form.append(given);
      if (Number(form.dataset.outputs) > 1) {
        field.value = label;
        list.hidden = true;
        field.blur();
        return;
      }
      const act = document.createElement("input");
      Object.assign(act, { type: "hidden", name: "act", value: "choose" });
      form.append(act);
      form.requestSubmit();
    };
    field.addEventListener("input", async () => {
      const mine = ++asked;
      const query = new URLSearchParams({ output: field.dataset.outputName, q: field.value });
      const answer = await fetch(`${field.dataset.find}?${query}`);
      if (mine !== asked || !answer.ok) return;
      const found = (await answer.json()).labels;
      list.replaceChildren(...found.map((label, i) => {
        const one = document.createElement("li");
        one.role = "option";
        one.id = `${list.id}-${i}`;
        one.textContent = label;
        one.addEventListener("mousedown", (event) => { event.preventDefault(); choose(label); });
        return one;
      }));
      list.hidden = !found.length;
      field.setAttribute("aria-expanded", String(found.length > 0));
      mark(found.length ? 0 : -1);
    });
    field.addEventListener("keydown", (event) => {
      const count = list.children.length;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        event.preventDefault();
        if (count) mark((at + (event.key === "ArrowDown" ? 1 : count - 1)) % count);
      } else if (event.key === "Enter") {
        event.preventDefault();
        if (list.children[at]) choose(list.children[at].textContent);
      }
    });
  }

  // a lease is a limit of time: say so a minute before its end
  for (const until of document.querySelectorAll("[data-until]")) {
    setTimeout(() => {
      const said = document.createElement("p");
      said.className = "wrong";
      said.setAttribute("role", "alert");
      said.append("In a minute others may take this one. ");
      const stay = document.createElement("a");
      stay.href = location.href;
      stay.textContent = "Keep it";
      said.append(stay);
      document.getElementById("standing").after(said);
    }, Math.max(0, Number(until.dataset.until) - 60) * 1000);
  }
})();
