// Code in colours: a line at a time, so that code can be coloured while it is
// being written. It knows words, strings, numbers and comments, no grammar.

const words = (text) => new Set(text.split(" "));
const c = { line: "//", block: ["/*", "*/"], quotes: ['"', "'"] };

// A language: its keywords; how comments begin; quotes, the long ones (which go
// over lines) first; `key`, what makes the word or string before it a key.
const languages = {
  js: { ...c, quotes: ['"', "'"], long: ["`"], words: words("as async await break case catch class const continue debugger default delete do else enum export extends false finally for from function get if implements import in instanceof interface let new null of private protected public readonly return set static super switch this throw true try type typeof undefined var void while with yield") },
  go: { ...c, long: ["`"], words: words("any bool break byte case chan complex128 const continue default defer else error fallthrough false float32 float64 for func go goto if import int int32 int64 interface iota make map nil package range return rune select string struct switch true type uint uint64 uint8 var") },
  python: { line: "#", long: ['"""', "'''"], quotes: ['"', "'"], words: words("and as assert async await break case class continue def del elif else except False finally for from global if import in is lambda match None nonlocal not or pass raise return self True try while with yield") },
  rust: { ...c, quotes: ['"'], words: words("as async await bool break char const continue crate dyn else enum extern f32 f64 false fn for i32 i64 if impl in let loop match mod move mut pub ref return self Self static str struct super trait true type u32 u64 u8 unsafe use usize where while") },
  c: { ...c, words: words("abstract alignas auto bool boolean break byte case catch char class const constexpr continue default delete do double else enum explicit extends extern false final finally float for foreach friend goto if implements import in inline int interface internal long namespace new null nullptr object operator override package private protected public readonly register return short signed sizeof static string struct super switch template this throw throws true try typedef typename union unsigned using val var virtual void volatile when while") },
  kotlin: { ...c, long: ['"""'], words: words("actor as associatedtype async await break case catch class companion continue data default defer deinit do else enum extension false final for fun func guard if import in init inout interface internal is lateinit let nil null object open operator override package private protocol public return sealed self static struct super suspend switch this throw throws true try typealias val var weak when where while") },
  shell: { line: "#", quotes: ['"', "'"], words: words("alias case cd do done echo elif else esac exit export fi for function if in local read return set shift source then trap unset until while") },
  ruby: { line: "#", quotes: ['"', "'"], words: words("and begin break case class def do else elsif end ensure false for if in module next nil not or redo require rescue return self super then true unless until when while yield puts attr_accessor") },
  php: { ...c, words: words("abstract array as break case catch class const continue default do echo else elseif extends false final fn for foreach function global if implements interface match namespace new null private protected public return static switch this throw trait true try use var while") },
  sql: { line: "--", block: ["/*", "*/"], quotes: ["'", '"'], fold: true, words: words("add all alter and as asc begin between by case cast check column commit constraint create cross default delete desc distinct drop else end except exists false foreign from full group having if in index inner insert intersect into is join key left like limit not null offset on or order outer partition primary references returning right rollback select set table then true union unique update using values view when where with") },
  lua: { line: "--", quotes: ['"', "'"], words: words("and break do else elseif end false for function goto if in local nil not or repeat return then true until while") },
  json: { quotes: ['"'], key: /^\s*:/, words: words("true false null") },
  yaml: { line: "#", quotes: ['"', "'"], key: /^:(\s|$)/, words: words("true false null yes no") },
  toml: { line: "#", long: ['"""', "'''"], quotes: ['"', "'"], key: /^\s*=/, words: words("true false") },
  css: { block: ["/*", "*/"], quotes: ['"', "'"], key: /^\s*:[^:]/, word: /^[\w-]+/, words: words("important inherit initial none auto") },
  html: { markup: true, block: ["<!--", "-->"] },
  diff: { diff: true },
};

const names = {
  javascript: "js", jsx: "js", ts: "js", tsx: "js", typescript: "js", mjs: "js", golang: "go", py: "python", python3: "python", rs: "rust",
  "c++": "c", cpp: "c", h: "c", hpp: "c", cs: "c", csharp: "c", "c#": "c", java: "c", cuda: "c", cu: "c", dart: "c", scala: "kotlin", swift: "kotlin", kt: "kotlin",
  sh: "shell", bash: "shell", zsh: "shell", console: "shell", dockerfile: "shell", makefile: "shell", rb: "ruby", jsonc: "json", json5: "json", yml: "yaml", ini: "toml",
  scss: "css", less: "css", xml: "html", svg: "html", vue: "html", patch: "diff", postgresql: "sql", mysql: "sql", sqlite: "sql",
};

// languageOf is what is known of a language by the name people write; null is
// nothing.
export function languageOf(name) {
  const known = names[name.toLowerCase()] ?? name.toLowerCase();
  return Object.hasOwn(languages, known) ? languages[known] : null;
}

// highlight splits a line into [class, text]. open is what the line before left
// open, "" for nothing; it returns what this one does.
export function highlight(language, line, open = "") {
  if (!language) return { parts: line ? [["", line]] : [], open: "" };
  if (language.diff) return { parts: line ? [[diffClass(line), line]] : [], open: "" };
  const parts = [];
  const put = (kind, text) => {
    if (!text) return;
    if (parts.at(-1)?.[0] === kind) parts.at(-1)[1] += text;
    else parts.push([kind, text]);
  };
  let at = 0;
  if (open) at = close(language, line, 0, open, put);
  if (at < 0) return { parts, open };
  while (at < line.length) {
    const begun = opens(language, line, at);
    if (begun) {
      at = close(language, line, at, begun, put, true);
      if (at < 0) return { parts, open: begun };
    } else {
      at += language.markup ? markup(line, at, put) : plain(language, line, at, put);
    }
  }
  return { parts, open: "" };
}

const diffClass = (line) => ({ "+": "add", "-": "del", "@": "f" })[line[0]] ?? "";

// opens is what begins here and may end on a later line: a block comment or a
// long string, by its first characters.
function opens(language, line, at) {
  if (language.block && line.startsWith(language.block[0], at)) return language.block[0];
  return language.long?.find((q) => line.startsWith(q, at));
}

// close takes what was opened to its end, and returns where that is; -1 when it
// is not in this line.
function close(language, line, at, open, put, first = false) {
  const comment = open === language.block?.[0];
  const end = comment ? language.block[1] : open;
  let from = first ? at + open.length : at;
  if (!comment && end.length === 1) while (from < line.length && line[from] !== end) from += line[from] === "\\" ? 2 : 1;
  else from = line.indexOf(end, from);
  const found = from >= 0 && from < line.length;
  put(comment ? "c" : "s", line.slice(at, found ? from + end.length : undefined));
  return found ? from + end.length : -1;
}

// plain takes what is next, and returns how long it is.
function plain(language, line, at, put) {
  const rest = line.slice(at, at + 400);
  if (language.line && rest.startsWith(language.line) && (language.line !== "#" || at === 0 || /\s/.test(line[at - 1]))) {
    put("c", line.slice(at));
    return line.length - at;
  }
  let m;
  if (language.quotes?.includes(rest[0]) && (m = quoted(rest))) {
    put(language.key?.test(rest.slice(m.length)) ? "a" : "s", m);
  } else if ((m = rest.match(/^(?:0[xXbBoO][\da-fA-F_]+|\d[\d_]*(?:\.\d[\d_]*)?(?:[eE][+-]?\d+)?)\w*/))) {
    put("n", (m = m[0]));
  } else if ((m = rest.match(language.word ?? /^[\p{L}_$@][\p{L}\d_$]*/u))) {
    m = m[0];
    put(wordClass(language, m, rest.slice(m.length)), m);
  } else {
    put("", (m = rest[0]));
  }
  return m.length;
}

// quoted is the string that a text begins with; "" when it does not end.
function quoted(text) {
  for (let i = 1; i < text.length; i++) {
    if (text[i] === "\\") i++;
    else if (text[i] === text[0]) return text.slice(0, i + 1);
  }
  return "";
}

function wordClass(language, word, after) {
  if (language.key?.test(after)) return "a";
  if (language.words.has(language.fold ? word.toLowerCase() : word)) return "k";
  if (/^\s?\(/.test(after)) return "f";
  return /^\p{Lu}.*\p{Ll}/u.test(word) ? "t" : "";
}

// markup takes a tag's piece, or text up to the next tag.
function markup(line, at, put) {
  const rest = line.slice(at, at + 400);
  let m;
  if ((m = rest.match(/^<\/?[\w:.-]+|^\/?>/))) put("k", (m = m[0]));
  else if ((m = rest.match(/^[\w:@.-]+(?==)/))) put("a", (m = m[0]));
  else if ((m = rest.match(/^"[^"]*"|^'[^']*'/)) && line[at - 1] === "=") put("s", (m = m[0]));
  else put("", (m = rest.match(/^[^<>"'=\s]+|^./s)[0]));
  return m.length;
}
