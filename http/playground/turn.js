// One turn of a conversation as it is shown. What can be done with it is given
// as `acts`: edit, again, remove, choose, results.
import { button, copy, element, iconButton } from "./dom.js";
import { fileList } from "./files.js";
import { hideTip, hover, tokensOf } from "./probabilities.js";
import { Writer } from "./writer.js";

export class TurnView {
  constructor(turn, acts) {
    this.turn = turn;
    this.acts = acts;
    this.text = element("div", "text");
    this.foot = element("div", "foot");
    this.element = element("article", `turn ${turn.role}`, this.text, this.foot);
    this.element.ariaLabel = { user: "You", tool: `Result of ${turn.name}` }[turn.role] ?? "Reply";
    if (turn.role === "assistant") {
      this.writer = new Writer(this.text);
      hover(this.text, turn);
    }
    this.asTokens = false;
  }

  // show draws what there is now. where says what depends on the others: the
  // ways it was said, which of them it is, whether it is the last turn.
  show(where) {
    const { turn } = this;
    this.element.classList.toggle("running", turn.open === true);
    if (turn.role === "assistant") this.showReply();
    else if (turn.role === "tool") this.text.replaceChildren(element("code", "name", turn.name), element("pre", "", element("code", "", pretty(turn.text))));
    else this.showMessage();
    if (turn.calls) this.showCalls(where);
    this.showError();
    this.showFoot(where);
  }

  showMessage() {
    const { text, files } = this.turn;
    this.text.replaceChildren(...(files?.length ? [fileList(files)] : []), ...(text ? [element("p", "", text)] : []));
  }

  showReply() {
    const { turn } = this;
    if (turn.thought) this.showThought();
    if (this.asTokens) return;
    this.writer.write(turn.text);
    if (!turn.open) this.writer.end();
  }

  // showThought shows reasoning: open while there is nothing else yet, then
  // closed, unless the reader has chosen.
  showThought() {
    const { turn } = this;
    if (!this.thought) {
      this.thought = element("details", "thought", element("summary"), element("div"));
      this.thought.firstChild.addEventListener("click", () => (this.chosen = true));
      this.element.prepend(this.thought);
    }
    const alone = turn.open === true && !turn.text && !turn.calls;
    if (!this.chosen) this.thought.open = alone;
    this.thought.firstChild.textContent = alone ? "Thinking …" : "Thoughts";
    const [box, text] = [this.thought.lastChild, turn.thought];
    if (text.startsWith(box.textContent)) box.append(text.slice(box.textContent.length));
    else box.textContent = text;
  }

  // showCalls shows the tools a reply calls, and asks for their results when it
  // is the last.
  showCalls({ last }) {
    const { turn } = this;
    if (!this.calls) {
      this.calls = element("div", "calls");
      this.text.after(this.calls);
    }
    const asks = !turn.open && last;
    if (asks && this.calls.querySelector("form")) return; // the reader is writing there
    this.calls.replaceChildren(...turn.calls.map((c) => element("div", "call", element("span", "", "calls "), element("code", "name", c.name), element("pre", "", element("code", "", pretty(c.arguments))))));
    if (asks) this.calls.append(this.resultForm());
  }

  resultForm() {
    const { calls } = this.turn;
    const fields = calls.map((c, n) => {
      const field = Object.assign(element("textarea"), { rows: 1, required: true, id: `result-${n}` });
      const label = Object.assign(element("label", "", `Result of ${c.name}`), { htmlFor: field.id });
      return [label, field];
    });
    const form = element("form", "results", ...fields.flat(), element("button", "primary", fields.length > 1 ? "Send results" : "Send result"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.acts.results(this.turn, fields.map(([, field]) => field.value));
    });
    return form;
  }

  // showError says why a reply failed, and what can be done.
  showError() {
    const { turn, acts } = this;
    this.error?.remove();
    this.error = null;
    if (!turn.error) return;
    this.error = element("div", "error", element("span", "", turn.error[0].toUpperCase() + turn.error.slice(1)),
      button("Try again", () => acts.retry(turn)), button("Edit message", () => acts.editQuestion(turn)), button("Remove", () => acts.remove(turn)));
    this.error.role = "alert";
    this.foot.before(this.error);
  }

  showFoot({ siblings, last }) {
    const { turn, foot } = this;
    foot.hidden = turn.role === "tool";
    if (turn.open || foot.hidden) {
      foot.replaceChildren(element("span", "note", turn.note ?? ""));
      return;
    }
    foot.classList.toggle("last", last);
    foot.replaceChildren(...(turn.note ? [element("span", "note", turn.note)] : []), element("span", "acts", ...this.ways(siblings), ...this.actions()));
  }

  // ways leads to the other ways in which this was said.
  ways(all) {
    if (all.length < 2) return [];
    const { turn, acts } = this;
    const i = all.indexOf(turn);
    const to = (by, label, name) => {
      const b = iconButton(name, label, () => acts.choose(all[i + by], by));
      b.disabled = !all[i + by];
      return b;
    };
    return [element("span", "ways", to(-1, "Previous version", "left"), element("span", "", `${i + 1}/${all.length}`), to(1, "Next version", "right"))];
  }

  actions() {
    const { turn, acts } = this;
    const out = [];
    if (turn.error && !turn.text) return out; // what can be done stands beside the error
    if (turn.tokens?.length && turn.text) {
      const b = iconButton("tokens", "Token probabilities", () => this.toggleTokens(b));
      b.ariaPressed = String(this.asTokens);
      out.push(b);
    }
    const b = iconButton("copy", "Copy", () => copy(b, turn.text));
    out.push(b, iconButton("edit", "Edit", () => this.edit()));
    if (turn.role === "assistant") out.push(iconButton("again", "Again", () => acts.again(turn)));
    out.push(iconButton("delete", "Remove", () => acts.remove(turn)));
    return out;
  }

  toggleTokens(b) {
    this.asTokens = !this.asTokens;
    b.ariaPressed = String(this.asTokens);
    hideTip();
    this.writer.reset();
    if (this.asTokens) this.text.replaceChildren(tokensOf(this.turn));
    else this.showReply();
  }

  // edit asks for other words; they become another way of saying this.
  edit() {
    if (this.form) return;
    const { turn, acts } = this;
    const field = Object.assign(element("textarea"), { value: turn.text, ariaLabel: "Edit message", required: !turn.files?.length });
    const form = (this.form = element("form", "edit", field, element("div", "",
      element("p", "note", turn.role === "user" ? "Asks anew. What was said before stays beside it." : "Goes beside the reply as it was."),
      button("Cancel", () => this.stopEditing()), element("button", "primary", turn.role === "user" ? "Send" : "Save"))));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.stopEditing();
      if (field.value !== turn.text) acts.edit(turn, field.value);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        this.stopEditing();
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || turn.role === "user" && !event.shiftKey) && !event.isComposing) {
        event.preventDefault();
        form.requestSubmit();
      }
    });
    this.element.classList.add("editing");
    this.text.before(form);
    field.focus();
  }

  stopEditing() {
    this.form.remove();
    this.form = null;
    this.element.classList.remove("editing");
    document.getElementById("prompt").focus();
  }
}

// pretty indents what is JSON, and leaves what is not yet.
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
