package pagetest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rich has everything in it that a reply may hold.
const rich = "# A *rich* reply\n\nSome **bold**, ~~struck~~ and `code`, [a link](https://example.com/).\n\n" +
	"| Name | Speed |\n|:--|--:|\n| A | 1,250 |\n| A longer name that takes some room | 98.5 |\n\n- [x] done\n- [ ] to do\n  - nested $x^2$\n\n1. first\n\n> A quote\n\n" +
	"$$\\sum_{i=1}^{n} i = \\frac{n(n+1)}{2}$$\n\n```go\n// Greet says hello.\nfunc Greet(name string) string { return fmt.Sprintf(\"Hello, %s! %d\", name, 42) } // a line that is longer than narrow screens\n```\n\n" +
	"```diff\n-old\n+new\n```\n\n```html\n<p class=\"x\">text</p>\n```\n\nA_word_that_is_much_too_long_for_a_narrow_screen_and_must_be_broken_somewhere."

// views are what a person may have before the eyes, and how to get there.
var views = []struct{ name, open, close string }{
	{"chat", "", ""},
	{"list", `document.body.classList.contains("list-open") || document.querySelector("#toggle-list").click()`, `innerWidth < 1152 && document.querySelector("#toggle-list").click()`},
	{"live", `document.body.classList.contains("live-open") || document.querySelector("#toggle-live").click()`, `innerWidth < 1024 && document.querySelector("#toggle-live").click()`},
	{"engines", `document.body.classList.contains("live-open") || document.querySelector("#toggle-live").click(); document.querySelector("#cluster").scrollIntoView()`, `innerWidth < 1024 && document.querySelector("#toggle-live").click()`},
	{"settings", `document.querySelector("#settings").showModal()`, `document.querySelector("#settings").close()`},
	{"help", `document.querySelector("#help").showModal()`, `document.querySelector("#help").close()`},
	{"edit", `document.querySelector(".assistant [aria-label=Edit]").click()`, `document.querySelector(".edit button").click()`},
	{"tokens", `document.querySelector("[aria-label='Token probabilities']").click()`, `document.querySelector("[aria-label='Token probabilities']").click()`},
	{"error", `document.querySelector("#scroll").scrollTo(0, 1e6)`, ``},
}

// eachView goes through all views, at the widths and in the schemes given. The
// conversation has a reply of each kind.
func eachView(t *testing.T, widths []int, schemes []string, look func(p *tab, where string)) {
	t.Helper()
	p := enter(t, 1280, 800)
	p.limit("60")
	p.say("Tell me a story about a fox")
	p.until(answered)
	promised(rich)
	p.say("Show me everything")
	way.goOn <- true
	p.until(`document.querySelectorAll(".assistant").length === 2 && ` + answered)
	way.says.Store(nil)
	p.say(strings.Repeat("far too long ", 3000))
	p.until(errorShown)
	p.eval(`document.querySelector(".user:nth-last-child(2) .text p").textContent = "far too long"`) // to be seen beside its reply
	p.until(`/^\d/.test(document.querySelector("#rate").textContent)`)
	way.also.Store(&twoHosts)
	t.Cleanup(func() { way.also.Store(nil) })
	for _, scheme := range schemes {
		p.prefer(scheme)
		for _, width := range widths {
			p.size(width, 844)
			for _, v := range views {
				p.eval(v.open)
				look(p, fmt.Sprintf("%s-%d-%s", v.name, width, scheme))
				p.eval(v.close)
			}
		}
	}
	p.size(800, 1100)
	p.onPaper()
	look(p, "paper")
}

// TestLooks checks what can be measured of how it looks, at three widths and in
// both schemes: nothing is cut off, every control has a name, text is readable.
// TROUPE_PICTURES names a directory to write pictures to.
func TestLooks(t *testing.T) {
	eachView(t, []int{320, 390, 1280}, []string{"light", "dark"}, func(p *tab, where string) {
		for _, fault := range p.eval(audit).([]any) {
			t.Errorf("%s: %v", where, fault)
		}
		if dir := os.Getenv("TROUPE_PICTURES"); dir != "" {
			if err := os.WriteFile(filepath.Join(dir, where+".png"), p.picture(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// audit lists faults. Contrast is WCAG 2's, of text on the nearest background
// that is not transparent; colours here have no other transparency.
const audit = `(() => {
	const faults = [];
	if (document.documentElement.scrollWidth > innerWidth) faults.push("wider than the window: " + document.documentElement.scrollWidth);
	const luminance = (c) => c.match(/[\d.]+/g).slice(0, 3).map((v) => v / 255)
		.map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
		.reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
	const behind = (e) => {
		for (; e; e = e.parentElement) {
			const c = getComputedStyle(e).backgroundColor;
			if (!c.startsWith("rgba(") && !c.startsWith("color(")) return c;
		}
		return "rgb(255, 255, 255)";
	};
	for (const e of document.body.querySelectorAll("*")) {
		if (!e.checkVisibility() || e.disabled) continue;
		const name = e.tagName + (e.id && "#" + e.id);
		if (e.matches("button, input, textarea, select") && !(e.labels?.length || e.ariaLabel || e.textContent.trim())) faults.push(name + " has no name");
		if (e.matches("button") && e.getBoundingClientRect().height < 24) faults.push(name + " is too small to hit");
		if (e.closest("#chat") && !e.closest(".hidden, #sheet, pre, .table, .formula, math")) {
			const r = e.getBoundingClientRect();
			if (r.right > innerWidth + 1 || r.left < -1) faults.push(name + "." + e.className + " is cut off");
		}
		if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
		const [a, b] = [luminance(getComputedStyle(e).color), luminance(behind(e))];
		const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
		if (contrast < 4.5) faults.push(name + "." + e.className + " has a contrast of " + contrast.toFixed(2));
	}
	return faults;
})()`

// TestNarrow shows model and speed where there is least room.
func TestNarrow(t *testing.T) {
	p := enter(t, 390, 844)
	p.limit("8")
	p.say("Hello")
	p.until(answered)
	for _, id := range []string{"#model", "#speed"} {
		if p.eval(`(() => {
			const r = document.querySelector(`+quoted(id)+`).getBoundingClientRect();
			return r.width > 20 && r.height > 10 && r.right < innerWidth && document.elementFromPoint(r.x + 5, r.y + r.height / 2)?.id === `+quoted(id[1:])+`;
		})()`) != true {
			t.Errorf("%s is not to be seen", id)
		}
	}
}

// TestPaper prints the conversation and nothing else, all of it.
func TestPaper(t *testing.T) {
	p := enter(t, 800, 600)
	p.hears("A question", strings.Repeat("One line of many.\n\n", 100)+"The last.")
	p.onPaper()
	for _, gone := range []string{"header", "#list", "#live", "#composer", ".acts", "#toast"} {
		if p.eval(`document.querySelector(`+quoted(gone)+`).checkVisibility()`) == true {
			t.Errorf("%s is printed", gone)
		}
	}
	for what, is := range map[string]string{
		"a title":         `document.querySelector("#sheet-title").getBoundingClientRect().height > 10 && document.querySelector("#sheet-title").textContent === "A question"`,
		"the whole reply": `document.querySelector("#scroll").scrollHeight === document.querySelector("#scroll").clientHeight && document.documentElement.scrollHeight > 2000`,
		"black on white":  `getComputedStyle(document.querySelector(".assistant p")).color === "rgb(0, 0, 0)"`,
	} {
		if p.eval(is) != true {
			t.Errorf("there is not %s", what)
		}
	}
}

// axe is a version of axe-core, which knows more about accessibility than is
// measured here.
const axe = "axe-core@4.14.1"

// axeSource is its script, from npm; tests are skipped where that is not to be
// had.
func axeSource(t *testing.T) string {
	t.Helper()
	if chrome == nil {
		t.Skip("no Chromium is installed")
	}
	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, "--fetch-retries=0", "--no-audit", "--no-fund", "--ignore-scripts", "--silent", axe).CombinedOutput(); err != nil {
		t.Skipf("%s is not to be had from npm: %v %s", axe, err, out)
	}
	script, err := os.ReadFile(filepath.Join(dir, "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return string(script)
}

// TestAccessible has axe find nothing, in any view.
func TestAccessible(t *testing.T) {
	script := axeSource(t)
	known := false
	eachView(t, []int{390, 1280}, []string{"light", "dark"}, func(p *tab, where string) {
		if where == "paper" || strings.HasSuffix(where, "390-dark") { // on paper there is nothing to hear; at 390 there are no colours that are not at 1280
			return
		}
		if !known {
			p.eval(script + `; 1`)
			known = true
		}
		options := `{ resultTypes: ["violations"] }`
		if strings.HasSuffix(where, "dark") {
			options = `{ runOnly: ["color-contrast"] }`
		}
		for _, fault := range p.eval(`axe.run(` + options + `).then((r) => r.violations.map((v) => v.id + ": " + v.help + " " + v.nodes.map((n) => n.target.join(" ") + " " + (n.any[0]?.message ?? "")).slice(0, 3).join("; ")))`).([]any) {
			t.Errorf("%s: %v", where, fault)
		}
	})
}
