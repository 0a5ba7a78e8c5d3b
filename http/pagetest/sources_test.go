package pagetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// sourcesPage is a page on which the playground's modules can be imported, each
// by itself: those that know nothing of the page.
func sourcesPage(t *testing.T) *tab {
	t.Helper()
	if chrome == nil {
		t.Skip("no Chromium is installed (CHROMIUM may name one)")
	}
	p := chrome.open(t, 800, 600)
	p.visit(proxy.URL + sources)
	return p
}

// with is what an expression comes to, given the exports of a module.
func (p *tab) with(module, expression string) any {
	p.t.Helper()
	return p.eval(fmt.Sprintf(`import("./%s.js").then((m) => { return (%s); })`, module, expression))
}

func inJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// code is what a code block becomes.
func code(label, inside string) string {
	name := "Code"
	if label != "" {
		name += ", " + label
	} else {
		label = "text"
	}
	return fmt.Sprintf(`<div class="code"><div class="bar"><span>%s</span><button class="copy" type="button" aria-label="Copy code">Copy</button></div><pre tabindex="0" aria-label="%s" role="group"><code>%s</code></pre></div>`, label, name, inside)
}

func table(rows string) string {
	return `<div class="table" tabindex="0" role="group" aria-label="Table"><table>` + rows + `</table></div>`
}

const away = ` target="_blank" rel="noopener noreferrer"`

var markdown = []struct{ text, want string }{
	{"Plain\ntwo lines, 2 * 3 * 4, <b>no</b>\n\nMore", "<p>Plain\ntwo lines, 2 * 3 * 4, &lt;b&gt;no&lt;/b&gt;</p><p>More</p>"},
	{"## Head **x**\nText\n---\n> said\n> `so`\nafter", "<h4>Head <strong>x</strong></h4><p>Text</p><hr><blockquote><p>said\n<code>so</code></p></blockquote><p>after</p>"},
	{"Some:\n- one\n  - in *it*\n\n  more\n- **two**\n\nEnd", "<p>Some:</p><ul><li><p>one</p><ul><li><p>in <em>it</em></p></li></ul><p>more</p></li><li><p><strong>two</strong></p></li></ul><p>End</p>"},
	{"3. a\n   ```none\n   x\n   ```\n4. b\n- c", `<ol start="3"><li><p>a</p>` + code("none", "x") + `</li><li><p>b</p></li></ol><ul><li><p>c</p></li></ul>`},
	{"| a | b | c |\n|---|:-:|--:|\n| `1|1` | 2\\|3 | |\n\nIn 2026. It", table(`<thead><tr><th>a</th><th class="center">b</th><th class="right">c</th></tr></thead><tbody><tr><td><code>1|1</code></td><td class="center">2|3</td><td class="right"></td></tr></tbody>`) + `<p>In 2026. It</p>`},
	{"```\nopen\n\n  code", code("", "open\n\n  code")},
	{"````md\n```\ninside\n```\n````", code("md", "```\ninside\n```")},
	{"a | b\n***\n- x\n-\n|", "<p>a | b</p><hr><ul><li><p>x</p></li><li></li></ul><p>|</p>"},
	{strings.Repeat(">", 17), strings.Repeat("<blockquote>", 16) + "<p>&gt;</p>" + strings.Repeat("</blockquote>", 16)},
	{strings.Repeat("- ", 17) + "x", strings.Repeat("<ul><li>", 16) + "<p>- x</p>" + strings.Repeat("</li></ul>", 16)},

	// Marks within a line.
	{"~~a **b** c~~ ***d*** __e__ _f_ snake_case_name", "<p><del>a <strong>b</strong> c</del> <strong><em>d</em></strong> <strong>e</strong> <em>f</em> snake_case_name</p>"},
	{"**a *b* c** *a **b** c* ``a ` b`` \\*no\\*", "<p><strong>a <em>b</em> c</strong> <em>a <strong>b</strong> c</em> <code>a ` b</code> *no*</p>"},
	{"- [x] done\n- [ ] not", `<ul><li class="task"><span class="box done" role="img" aria-label="Done:"></span><p>done</p></li><li class="task"><span class="box" role="img" aria-label="To do:"></span><p>not</p></li></ul>`},
	{"a<br>b", "<p>a<br>b</p>"},

	// Links lead to the web or to a person, and nowhere else.
	{`[t *x*](https://a.b/c_(d) "title")`, `<p><a href="https://a.b/c_(d)"` + away + `>t <em>x</em></a></p>`},
	{"https://a.b/c?d=e_f_g. <mailto:x@y.z>", `<p><a href="https://a.b/c?d=e_f_g"` + away + `>https://a.b/c?d=e_f_g</a>. <a href="mailto:x@y.z"` + away + `>x@y.z</a></p>`},
	{"[see https://a.b](https://c.d)", `<p><a href="https://c.d"` + away + `>see https://a.b</a></p>`},
	{"![cat](https://a.b/cat.png)", `<p><a href="https://a.b/cat.png"` + away + `>cat</a></p>`},
	{"[a](javascript:alert(1)) [b](data:text/html,x) [c](/local) [d](//h) [e](jAvAsCrIpT:x) [f](https:x)", "<p>[a](javascript:alert(1)) [b](data:text/html,x) [c](/local) [d](//h) [e](jAvAsCrIpT:x) [f](https:x)</p>"},
	{"<img src=x onerror=alert(1)> <script>", "<p>&lt;img src=x onerror=alert(1)&gt; &lt;script&gt;</p>"},

	// Money is no mathematics, and what is not understood stays.
	{"$5 and $10, $HOME/$USER, $\\nope{x}$", "<p>$5 and $10, $HOME/$USER, $\\nope{x}$</p>"},
	{"so $x$\n\n$$\n\\nope\n$$\n$$1$$", `<p>so <math><mi>x</mi></math></p><pre class="tex"><code>$$` + "\n\\nope\n" + `$$</code></pre><div class="formula"><math display="block"><mn>1</mn></math></div>`},
}

// TestMarkdown shows what models write as it is meant, and nothing as HTML.
func TestMarkdown(t *testing.T) {
	p := sourcesPage(t)
	for _, c := range markdown {
		got := p.with("markdown", `(() => { const e = document.createElement("div"); e.append(...m.written(`+quoted(c.text)+`)); return e.innerHTML; })()`)
		if got != c.want {
			t.Errorf("%q becomes\n%s\nwant\n%s", c.text, got, c.want)
		}
	}
}

// A reply may have more pieces than a call has room for arguments.
func TestMarkdownOfManyPieces(t *testing.T) {
	p := sourcesPage(t)
	for _, unit := range []string{"*a* ", "a\n\n"} {
		got := p.with("markdown", `(() => { const e = document.createElement("div"); for (const b of m.written(`+quoted("| a |\n|---|\n"+unit)+` + `+quoted(unit)+`.repeat(70000))) e.append(b); return e.textContent.length > 70000; })()`)
		if got != true {
			t.Errorf("of 70000 times %q something is lost", unit)
		}
	}
}

// TestWriter writes random texts of everything above in random pieces: what is
// shown in the end is what the whole text becomes.
func TestWriter(t *testing.T) {
	p := sourcesPage(t)
	pieces := []string{"\n", "\n\n", "1. a\n", "2. b\n", "2", "- c\n", "```go\nvar x = `a\n", "```\n", "$$\nx^2\n$$\n", "| a | b |\n|---|---|\n| 1 | 2 |\n", "    in\n", "> q\n", "---\n"}
	for _, c := range markdown {
		pieces = append(pieces, c.text, c.text+"\n\n")
	}
	got := p.eval(`Promise.all([import("./markdown.js"), import("./writer.js")]).then(([{ written }, { Writer }]) => {
		let state = 7;
		const random = (n) => (state = (state * 48271) % 2147483647) % n;
		const pieces = ` + inJSON(pieces) + `;
		for (let run = 0; run < 150; run++) {
			let text = "";
			for (let n = random(8) + 1; n > 0; n--) text += pieces[random(pieces.length)];
			const [box, whole] = [document.createElement("div"), document.createElement("div")];
			const w = new Writer(box);
			for (let at = 0; at < text.length;) w.write(text.slice(0, at += 1 + random(run % 3 === 0 ? 40 : 5)));
			w.end();
			whole.append(...written(text));
			if (box.innerHTML !== whole.innerHTML) return [run, text, box.innerHTML, whole.innerHTML];
		}
		return null;
	})`)
	if got != nil {
		t.Errorf("run %v: in pieces the text\n%v\nbecomes\n%v\nwant\n%v", got.([]any)...)
	}
}

// TestWriterIsCheap counts the nodes that are made while a reply is written: of
// twice the text twice as many, whether it is prose or code.
func TestWriterIsCheap(t *testing.T) {
	p := sourcesPage(t)
	for name, unit := range map[string]string{
		"prose": "A paragraph with **some** marks and `code`.\n\n",
		"code":  "	if x := f(1, \\\"two\\\"); x > 0 { return x } // why\n",
	} {
		made := func(n int) float64 {
			text := strings.Repeat(strings.ReplaceAll(unit, `\"`, `"`), n)
			if name == "code" {
				text = "```go\n" + text
			}
			return p.eval(`import("./writer.js").then(({ Writer }) => {
				const box = document.createElement("div");
				let made = 0;
				const seen = new MutationObserver(() => {});
				seen.observe(box, { childList: true, subtree: true });
				const w = new Writer(box);
				const text = ` + quoted(text) + `;
				for (let at = 0; at < text.length;) {
					w.write(text.slice(0, at += 4));
					for (const { addedNodes } of seen.takeRecords()) for (const n of addedNodes) made += 1 + (n.querySelectorAll?.("*").length ?? 0);
				}
				return made;
			})`).(float64)
		}
		if once, twice := made(40), made(80); once == 0 || twice > 2.2*once {
			t.Errorf("%s: %v nodes for 40 lines, %v for 80", name, once, twice)
		}
	}
}

// TestMath draws the common part of TeX, and leaves the rest.
func TestMath(t *testing.T) {
	p := sourcesPage(t)
	for _, c := range []struct{ tex, want string }{
		{`x^2_i`, `<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>`},
		{`\frac{a}{b}`, `<mfrac><mi>a</mi><mi>b</mi></mfrac>`},
		{`\frac12`, ""}, // 12 is one number here: not what TeX would do
		{`\sqrt[3]{x}`, `<mroot><mi>x</mi><mn>3</mn></mroot>`},
		{`\sqrt x`, `<msqrt><mi>x</mi></msqrt>`},
		{`\alpha\le\Omega`, `<mrow><mi>α</mi><mo>≤</mo><mi>Ω</mi></mrow>`},
		{`\sum_{i=1}^n i`, `<mrow><munderover><mo>∑</mo><mrow><mi>i</mi><mo>=</mo><mn>1</mn></mrow><mi>n</mi></munderover><mi>i</mi></mrow>`},
		{`\int_0^1`, `<msubsup><mo>∫</mo><mn>0</mn><mn>1</mn></msubsup>`},
		{`\lim_{x\to0}`, `<munder><mi>lim</mi><mrow><mi>x</mi><mo>→</mo><mn>0</mn></mrow></munder>`},
		{`f''(x)`, `<mrow><msup><mi>f</mi><mrow><mo>′</mo><mo>′</mo></mrow></msup><mo stretchy="false">(</mo><mi>x</mi><mo stretchy="false">)</mo></mrow>`},
		{`\begin{pmatrix}1&2\\3&4\end{pmatrix}`, `<mrow><mo fence="true" stretchy="true">(</mo><mtable><mtr><mtd><mn>1</mn></mtd><mtd><mn>2</mn></mtd></mtr><mtr><mtd><mn>3</mn></mtd><mtd><mn>4</mn></mtd></mtr></mtable><mo fence="true" stretchy="true">)</mo></mrow>`},
		{`\left[x\right.`, `<mrow><mo fence="true" stretchy="true">[</mo><mi>x</mi><mo fence="true" stretchy="true"></mo></mrow>`},
		{`\mathbb{R}`, `<mi>ℝ</mi>`},
		{`\text{if } x`, "<mrow><mtext>if&nbsp;</mtext><mi>x</mi></mrow>"},
		{`3.14\%`, `<mrow><mn>3.14</mn><mo>%</mo></mrow>`},
		{`\vec v`, `<mover accent="true"><mi>v</mi><mo>→</mo></mover>`},
		{`\unknown`, ""},
		{` `, ""},
		{`{a`, ""},
		{`a}`, ""},
		{`x^1^2`, ""},
		{`\frac{a}`, ""},
		{`\begin{pmatrix}1`, ""},
		{`\begin{x}1\end{x}`, ""},
		{`#`, ""},
		{`\`, ""},
		{strings.Repeat("{", 50) + strings.Repeat("}", 50), ""},
	} {
		got := p.with("math", `m.mathOf(`+quoted(c.tex)+`)?.outerHTML.replace(/ xmlns="[^"]*"/g, "") ?? ""`)
		if want := c.want; want != "" {
			want = "<math>" + want + "</math>"
			if got != want {
				t.Errorf("%s becomes\n%v\nwant\n%s", c.tex, got, want)
			}
		} else if got != "" {
			t.Errorf("%s is taken for\n%v", c.tex, got)
		}
	}
}

// TestHighlight tells words, strings, numbers and comments apart, and loses
// nothing.
func TestHighlight(t *testing.T) {
	p := sourcesPage(t)
	for _, c := range []struct{ language, text, want string }{
		{"go", "func F(x int) string { // c", "k:func| |f:F|(x |k:int|) |k:string| { |c:// c"},
		{"go", "a := `x\ny` + \"\\\"z\"", "a := |s:`x/s:y`| + |s:\"\\\"z\""},
		{"Python", "def f(x): # c\n\t\"\"\"doc\n\t\"\"\"\n\treturn 0x1F", "k:def| |f:f|(x): |c:# c/\t|s:\"\"\"doc/s:\t\"\"\"/\t|k:return| |n:0x1F"},
		{"js", "/* a\nb */ `${x}`", "c:/* a/c:b */| |s:`${x}`"},
		{"json", `{"a": "b", "c": true}`, `{|a:"a"|: |s:"b"|, |a:"c"|: |k:true|}`},
		{"sql", "SELECT 'a' -- c", "k:SELECT| |s:'a'| |c:-- c"},
		{"html", `<a href="x">t</a> <!-- c`, `k:<a| |a:href|=|s:"x"|k:>|t|k:</a>| |c:<!-- c`},
		{"diff", "-a\n+b\n c", "del:-a/add:+b/ c"},
		{"bash", "echo ${#a} 'it' # c", "k:echo| ${#a} |s:'it'| |c:# c"},
		{"css", "a { color: #fff; }", "a { |a:color|: #fff; }"},
		{"rust", "fn f<'a>(x: &'a str)", "k:fn| f<'a>(x: &'a |k:str|)"},
		{"no-such", "let it = \"be\"", "let it = \"be\""},
		{"constructor", "x", "x"},
	} {
		got := p.with("highlight", `(() => {
			let open = "";
			return `+quoted(c.text)+`.split("\n").map((line) => {
				const r = m.highlight(m.languageOf(`+quoted(c.language)+`), line, open);
				open = r.open;
				if (r.parts.map(([, t]) => t).join("") !== line) return "LOST " + line;
				return r.parts.map(([k, t]) => k ? k + ":" + t : t).join("|");
			}).join("/");
		})()`)
		if got != c.want {
			t.Errorf("%s %q becomes\n%v\nwant\n%s", c.language, c.text, got, c.want)
		}
	}
}

// TestTree walks a conversation's branches, takes some away and back, and finds
// the same after a file.
func TestTree(t *testing.T) {
	p := sourcesPage(t)
	got := p.with("tree", `(() => {
		const out = [];
		const c = m.newChat("id", 1);
		const says = (parent, role, text) => m.add(c, parent, { role, text });
		const read = () => out.push(m.path(c).map((t) => t.text).join(" "));
		const a = says(0, "user", "a"), b = says(a.id, "assistant", "b"), d = says(b.id, "user", "d");
		read();
		const b2 = says(a.id, "assistant", "b2");
		read();
		m.choose(c, b);
		read();
		out.push(m.siblings(c, b).map((t) => t.text).join());
		const gone = m.remove(c, b);
		read();
		out.push(gone.map((t) => t.text).join());
		says(b2.id, "user", "e");
		m.putBack(c, gone);
		read();
		out.push(c.turns.map((t) => t.text).join());
		m.remove(c, a);
		read();
		out.push(m.titleOf(c));
		m.putBack(c, gone); // its parent is gone: nothing comes back
		out.push(String(c.turns.length));
		return out;
	})()`)
	want := []any{"a b d", "a b2", "a b d", "b,b2", "a b2", "b,d", "a b d", "a,b,d,b2,e", "", "New chat", "0"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestExchangeOfConversations(t *testing.T) {
	p := sourcesPage(t)
	got := p.with("tree", `(() => {
		const c = m.newChat("old", 5);
		const u = m.add(c, 0, { role: "user", text: "q", files: [{ name: "f", text: "x" }] });
		m.add(c, u.id, { role: "assistant", text: "r1", thought: "t", tokens: [["r1", -0.5, [["r2", -1]]]] });
		m.add(c, u.id, { role: "assistant", text: "", error: "e", calls: [{ id: "i", name: "n", arguments: "{}" }] });
		m.choose(c, c.turns[1]);
		c.title = "T";
		const back = m.imported(m.exported([c]), () => "old", 9);
		return JSON.stringify(back) === JSON.stringify([c]) ? "same" : m.exported(back) + m.exported([c]);
	})()`)
	if got != "same" {
		t.Errorf("exported and imported:\n%v", got)
	}
	head := `{"format":"troupe.conversations","version":1,"conversations":`
	for _, c := range []struct{ file, want string }{
		{`[{"role":"user","content":"q"},{"role":"assistant","content":[{"type":"text","text":"r"}]}]`, "q r"},
		{`{"messages":[{"role":"user","content":"q"}]}`, "q"},
		{`[{"role":"system","content":"q"}]`, "messages[0]: a system prompt is set in the parameters"},
		{`[{"role":"user","content":7}]`, "messages[0].content: must be text"},
		{`nonsense`, "it is not JSON: "},
		{`{}`, "it is neither troupe.conversations nor a list of messages"},
		{`{"format":"troupe.conversations","version":2}`, "its version is 2, and 1 is understood"},
		{head + `7}`, "conversations: must be a list"},
		{head + `[{}]}`, "conversations[0].turns: must be a list"},
		{head + `[{"turns":[{"id":1,"parent":0,"role":"x","text":""}]}]}`, "conversations[0].turns[0].role: must be one of user, assistant, tool"},
		{head + `[{"turns":[{"id":1,"parent":0,"role":"user"}]}]}`, "conversations[0].turns[0].text: must be a string"},
		{head + `[{"turns":[{"id":1,"parent":1,"role":"user","text":""}]}]}`, "conversations[0].turns[0].parent: must be the id of a turn before it, or 0"},
		{head + `[{"turns":[{"id":0,"parent":0,"role":"user","text":""}]}]}`, "conversations[0].turns[0].id: must be a number of its own"},
		{head + `[{"turns":[{"id":1,"parent":0,"role":"user","text":"","files":[7]}]}]}`, "conversations[0].turns[0].files: is not of the form that is exported"},
	} {
		got, _ := p.with("tree", `(() => { try { return m.path(m.imported(`+quoted(c.file)+`, () => "x", 1)[0]).map((t) => t.text).join(" "); } catch (e) { return e.message; } })()`).(string)
		if !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.file, got, c.want)
		}
	}
}

// TestAlign finds which token wrote what is shown.
func TestAlign(t *testing.T) {
	p := sourcesPage(t)
	for _, c := range []struct {
		shown  string
		tokens []string
		want   string
	}{
		{"A quick fox.", []string{"A ", "**", "quick", "** fox", "."}, "0022222-3334"},
		{"t\nx", []string{"[t](http", "s://t.x)", " x"}, "0-2"},
		{"one", []string{"o", "**n**", "e"}, "012"},
		{"gone", []string{"x"}, "----"},
	} {
		tokens := [][]any{}
		for _, token := range c.tokens {
			tokens = append(tokens, []any{token})
		}
		got := p.with("align", `m.align(`+quoted(c.shown)+`, `+inJSON(tokens)+`).map((i) => i < 0 ? "-" : i).join("")`)
		if got != c.want {
			t.Errorf("%q of %q: got %v, want %s", c.shown, c.tokens, got, c.want)
		}
	}
}
