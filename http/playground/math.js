// The common part of TeX as MathML. What is not understood is null: it stays as
// it was written.

const greek = Object.fromEntries(("alpha α beta β gamma γ delta δ epsilon ϵ varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ mu μ nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς " +
  "tau τ upsilon υ phi ϕ varphi φ chi χ psi ψ omega ω Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω " +
  "infty ∞ partial ∂ nabla ∇ hbar ℏ ell ℓ Re ℜ Im ℑ aleph ℵ emptyset ∅ varnothing ∅ imath ı jmath ȷ").split(" ").reduce(pairs, []));
const signs = Object.fromEntries(("times × cdot ⋅ div ÷ pm ± mp ∓ ast ∗ star ⋆ circ ∘ bullet ∙ oplus ⊕ otimes ⊗ odot ⊙ leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ approx ≈ equiv ≡ sim ∼ simeq ≃ cong ≅ propto ∝ ll ≪ gg ≫ " +
  "in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ cup ∪ cap ∩ setminus ∖ forall ∀ exists ∃ nexists ∄ neg ¬ lnot ¬ land ∧ wedge ∧ lor ∨ vee ∨ perp ⊥ parallel ∥ mid ∣ top ⊤ bot ⊥ angle ∠ " +
  "to → rightarrow → leftarrow ← gets ← leftrightarrow ↔ Rightarrow ⇒ Leftarrow ⇐ Leftrightarrow ⇔ implies ⟹ iff ⟺ mapsto ↦ longrightarrow ⟶ uparrow ↑ downarrow ↓ " +
  "ldots … dots … cdots ⋯ vdots ⋮ ddots ⋱ colon : prime ′ models ⊨ vdash ⊢ dagger † backslash \\ | ‖ Vert ‖ vert | lvert | rvert | lVert ‖ rVert ‖ langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ " +
  "{ { } } % % # # & & $ $ _ _").split(" ").reduce(pairs, []));
const large = Object.fromEntries("sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ bigcup ⋃ bigcap ⋂ bigoplus ⨁ bigotimes ⨂ bigvee ⋁ bigwedge ⋀".split(" ").reduce(pairs, []));
const functions = new Set("sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp det dim ker deg gcd arg hom Pr lim limsup liminf max min sup inf argmax argmin softmax".split(" "));
const accents = { hat: "^", widehat: "^", bar: "¯", overline: "¯", vec: "→", dot: "˙", ddot: "¨", tilde: "~", widetilde: "~", underline: "_", overbrace: "⏞", underbrace: "⏟" };
const spaces = { ",": 0.167, ":": 0.222, ">": 0.222, ";": 0.278, " ": 0.25, "~": 0.25, "!": -0.167, quad: 1, qquad: 2 };
const fonts = { mathrm: "normal", mathbf: "bold", boldsymbol: "bold", bm: "bold", mathit: "italic", mathsf: "normal", mathtt: "normal", operatorname: "normal" };
const fences = { matrix: ["", ""], smallmatrix: ["", ""], pmatrix: ["(", ")"], bmatrix: ["[", "]"], Bmatrix: ["{", "}"], vmatrix: ["|", "|"], Vmatrix: ["‖", "‖"], cases: ["{", ""], aligned: ["", ""], align: ["", ""], "align*": ["", ""], gathered: ["", ""], array: ["", ""], split: ["", ""] };
const deepest = 40; // groups within groups

function pairs(all, word, i) {
  if (i % 2 === 0) all.push([word]);
  else all.at(-1).push(word);
  return all;
}

// NotUnderstood ends a reading.
class NotUnderstood extends Error {}

function m(tag, ...children) {
  const e = document.createElementNS("http://www.w3.org/1998/Math/MathML", tag);
  e.append(...children);
  return e;
}

const row = (parts) => (parts.length === 1 ? parts[0] : m("mrow", ...parts));

// mathOf turns TeX into a math element; null when it is not understood.
export function mathOf(source, display = false) {
  if (!source.trim()) return null;
  const reader = new Reader(source);
  try {
    const content = reader.until();
    const e = m("math", row(content));
    if (display) e.setAttribute("display", "block");
    return e;
  } catch (e) {
    if (e instanceof NotUnderstood) return null;
    throw e;
  }
}

class Reader {
  constructor(source) {
    this.tokens = source.match(/\\(?:[A-Za-z]+\*?|[^])|\d+(?:\.\d+)?|\s+|[^]/gu) ?? [];
    this.at = 0;
    this.depth = 0;
  }

  skip() {
    while (/^\s/.test(this.tokens[this.at] ?? "")) this.at++;
  }

  peek() {
    this.skip();
    return this.tokens[this.at];
  }

  next() {
    const token = this.peek();
    if (token === undefined) throw new NotUnderstood();
    this.at++;
    return token;
  }

  // until reads up to one of the tokens, which it leaves; to the end when none
  // is given.
  until(...ends) {
    if (++this.depth > deepest) throw new NotUnderstood();
    const parts = [];
    for (let token; (token = this.peek()) !== undefined || ends.length > 0;) {
      if (token === undefined) throw new NotUnderstood();
      if (ends.includes(token)) break;
      parts.push(this.scripted());
    }
    this.depth--;
    return parts;
  }

  // scripted reads an atom with what stands below and above it.
  scripted() {
    let base = /^[_^]$/.test(this.peek()) ? m("mrow") : this.atom();
    let under, over;
    for (let token; (token = this.peek()) === "_" || token === "^" || token === "'" || token === "\\limits";) {
      this.at++;
      if (token === "\\limits") continue;
      if (token === "'") over = over ? m("mrow", over, m("mo", "′")) : m("mo", "′");
      else if (token === "_" && !under) under = this.argument();
      else if (token === "^" && (!over || over.textContent === "′")) over = over ? m("mrow", over, this.argument()) : this.argument();
      else throw new NotUnderstood();
    }
    if (!under && !over) return base;
    const kind = base.limits ? ["munder", "mover", "munderover"] : ["msub", "msup", "msubsup"];
    if (!over) return m(kind[0], base, under);
    return under ? m(kind[2], base, under, over) : m(kind[1], base, over);
  }

  // argument reads a group, or one atom.
  argument() {
    if (this.peek() !== "{") return this.atom();
    return row(this.group());
  }

  group() {
    this.expect("{");
    const parts = this.until("}");
    this.at++;
    return parts;
  }

  expect(token) {
    if (this.next() !== token) throw new NotUnderstood();
  }

  // raw reads a group as it is written.
  raw() {
    this.expect("{");
    let text = "";
    for (; this.tokens[this.at] !== "}"; this.at++) {
      const token = this.tokens[this.at];
      if (token === undefined || token === "{") throw new NotUnderstood();
      text += token.length === 2 && /[%&#$_{} ]/.test(token[1]) ? token[1] : token;
    }
    this.at++;
    return text;
  }

  atom() {
    const token = this.next();
    if (token[0] === "\\" && token.length > 1) return this.command(token.slice(1));
    if (token === "{") {
      this.at--;
      return row(this.group());
    }
    if (/^\d/.test(token)) return m("mn", token);
    if (/^\p{L}$/u.test(token)) return m("mi", token);
    if (/^[+\-*/=<>!?,.;:|()[\]@]$/.test(token)) return operator({ "-": "−", "*": "∗" }[token] ?? token);
    if (token === "~") return space(0.25);
    if (/^[^\x00-\x7f]$/u.test(token)) return m("mo", token);
    throw new NotUnderstood(); // } & ^ _ # % $ where they mean nothing
  }

  command(name) {
    if (Object.hasOwn(greek, name)) return m("mi", greek[name]);
    if (Object.hasOwn(signs, name)) return operator(signs[name]);
    if (Object.hasOwn(spaces, name)) return space(spaces[name]);
    if (Object.hasOwn(large, name)) return Object.assign(m("mo", large[name]), { limits: !name.endsWith("int") });
    if (functions.has(name)) return Object.assign(m("mi", name.replace(/^(lim|arg)(sup|inf|max|min)$/, "$1 $2")), { limits: /^(lim|max|min|sup|inf|arg.+|Pr)/.test(name) });
    if (Object.hasOwn(accents, name)) return this.accent(name);
    if (Object.hasOwn(fonts, name)) return this.styled(name);
    switch (name) {
      case "frac": case "tfrac":
        return m("mfrac", this.argument(), this.argument());
      case "dfrac": case "cfrac":
        return upright(m("mfrac", this.argument(), this.argument()));
      case "binom":
        return m("mrow", fence("("), thin(m("mfrac", this.argument(), this.argument())), fence(")"));
      case "sqrt":
        return this.root();
      case "text": case "textrm": case "textbf": case "textit": case "mbox":
        return m("mtext", this.raw().replace(/^ | $/g, "\u00a0"));
      case "mathbb":
        return m("mi", letters(this.raw(), 0x1d538, { C: "ℂ", H: "ℍ", N: "ℕ", P: "ℙ", Q: "ℚ", R: "ℝ", Z: "ℤ" }));
      case "mathcal": case "mathscr":
        return m("mi", letters(this.raw(), 0x1d49c, { B: "ℬ", E: "ℰ", F: "ℱ", H: "ℋ", I: "ℐ", L: "ℒ", M: "ℳ", R: "ℛ" }));
      case "left":
        return this.fenced();
      case "begin":
        return this.environment();
      case "boxed":
        return Object.assign(m("mrow", this.argument()), { className: "boxed" });
      case "overset": case "stackrel": case "underset": {
        const [mark, base] = [this.argument(), this.argument()];
        return m(name === "underset" ? "munder" : "mover", base, mark);
      }
      case "not": {
        const e = this.atom();
        if (e.localName !== "mo") throw new NotUnderstood();
        return m("mo", `${e.textContent}\u0338`);
      }
      case "bmod": case "mod":
        return m("mo", "mod");
      case "pmod":
        return m("mrow", m("mo", "("), m("mi", "mod"), space(0.25), this.argument(), m("mo", ")"));
      case "displaystyle": case "textstyle": case "limits": case "nolimits": case "nonumber": case "notag":
        return m("mrow");
      case "big": case "Big": case "bigg": case "Bigg": case "bigl": case "bigr": case "Bigl": case "Bigr": case "biggl": case "biggr":
        return fence(this.delimiter());
    }
    throw new NotUnderstood();
  }

  root() {
    if (this.peek() !== "[") return m("msqrt", this.argument());
    this.at++;
    const degree = row(this.until("]"));
    this.at++;
    return m("mroot", this.argument(), degree);
  }

  accent(name) {
    const e = m(/under/.test(name) ? "munder" : "mover", this.argument(), m("mo", accents[name]));
    e.setAttribute(/under/.test(name) ? "accentunder" : "accent", "true");
    e.limits = /brace/.test(name);
    return e;
  }

  styled(name) {
    if (name === "operatorname" || this.tokens[this.at]?.length > 1) {
      const e = m("mi", name === "operatorname" ? this.raw() : this.argument().textContent);
      if (e.textContent.length === 1) e.setAttribute("mathvariant", "normal");
      return Object.assign(e, { limits: name === "operatorname" });
    }
    const e = this.argument();
    if (fonts[name] === "bold") {
      const bold = Object.assign(m("mrow", e), { className: "bold" });
      if (name === "mathbf") for (const mi of bold.querySelectorAll("mi")) mi.setAttribute("mathvariant", "normal");
      return bold;
    }
    if (fonts[name] === "normal") return m("mtext", e.textContent);
    return e;
  }

  delimiter() {
    const token = this.next();
    const name = token.slice(1);
    if (token === ".") return "";
    if (/^[()[\]|/<>]$/.test(token)) return { "<": "⟨", ">": "⟩" }[token] ?? token;
    if (token[0] === "\\" && Object.hasOwn(signs, name)) return signs[name];
    throw new NotUnderstood();
  }

  fenced() {
    const open = this.delimiter();
    const parts = [];
    for (;;) {
      parts.push(...this.until("\\right", "\\middle"));
      if (this.next() === "\\right") break;
      parts.push(fence(this.delimiter()));
    }
    return m("mrow", fence(open), ...parts, fence(this.delimiter()));
  }

  // environment reads rows and columns, and the fences around them.
  environment() {
    const name = this.raw();
    if (!Object.hasOwn(fences, name)) throw new NotUnderstood();
    if (name === "array") this.raw(); // how columns are set is left to the eye
    const rows = [[]];
    for (;;) {
      rows.at(-1).push(m("mtd", ...this.until("&", "\\\\", "\\end")));
      const token = this.next();
      if (token === "\\\\") rows.push([]);
      if (token === "\\end") break;
    }
    if (this.raw() !== name) throw new NotUnderstood();
    const last = rows.at(-1);
    if (last.length === 1 && !last[0].hasChildNodes()) rows.pop();
    const table = m("mtable", ...rows.map((cells) => m("mtr", ...cells)));
    if (/^(align|split|gather)/.test(name)) upright(table).classList.add("aligned");
    if (name === "cases") table.classList.add("cases");
    const [open, close] = fences[name];
    return open || close ? m("mrow", fence(open), table, fence(close)) : table;
  }
}

// operator does not grow with what is beside it; fence does.
function operator(text) {
  const e = m("mo", text);
  if ("()[]{}|‖/⟨⟩⌊⌋⌈⌉".includes(text)) e.setAttribute("stretchy", "false");
  return e;
}

function fence(text) {
  const e = m("mo", text);
  e.setAttribute("fence", "true");
  e.setAttribute("stretchy", "true");
  return e;
}

function space(em) {
  const e = m("mspace");
  e.setAttribute("width", `${em}em`);
  return e;
}

function thin(e) {
  e.setAttribute("linethickness", "0");
  return e;
}

// upright draws as in a formula of its own: fractions are not made smaller.
function upright(e) {
  e.setAttribute("displaystyle", "true");
  return e;
}

// letters turns capitals into those of an alphabet of mathematics, some of
// which stand elsewhere.
function letters(text, from, elsewhere) {
  return text.replace(/[A-Z]/g, (l) => elsewhere[l] ?? String.fromCodePoint(from + l.charCodeAt(0) - 65));
}
