package pagetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

const titles = `[...document.querySelectorAll("#chats .open")].map((e) => e.textContent).join("|")`

// TestConversations keeps several: opens, renames, deletes and takes back,
// exports, and imports where nothing was.
func TestConversations(t *testing.T) {
	p := enter(t, 1280, 800)
	p.hears("About foxes", "They are quick.")
	p.click("nav .new-chat")
	p.hears("About dogs", "They are lazy.")
	p.until(titles + ` === "About dogs|About foxes"`)

	p.click("#chats li:nth-child(2) .open")
	p.until(lastReply + ` === "They are quick." && document.title.startsWith("About foxes")`)
	p.point(100, 130)
	p.click("#chats [aria-label='Rename About foxes']")
	p.until(`document.activeElement.matches("#chats input")`)
	p.write("Foxes")
	p.press("Enter")
	p.until(titles + ` === "About dogs|Foxes" && document.title.startsWith("Foxes")`)

	p.click("#chats [aria-label='Delete Foxes']")
	p.until(titles + ` === "About dogs" && ` + lastReply + ` === "They are lazy."`)
	p.click("#toast button")
	p.until(titles + ` === "About dogs|Foxes" && ` + lastReply + ` === "They are quick."`)

	file := filepath.Join(t.TempDir(), "all.json")
	if err := os.WriteFile(file, p.downloaded(func() { p.click("#export") }), 0o600); err != nil {
		t.Fatal(err)
	}
	q := enter(t, 1280, 800)
	q.choose("#import-file", file)
	q.until(titles + ` === "About dogs|Foxes" && document.querySelector("#toast").innerText.includes("2 conversations imported")`)
	q.reload()
	q.until(titles + ` === "About dogs|Foxes"`)

	if err := os.WriteFile(file, []byte(`{"format":"troupe.conversations","version":1,"conversations":[{"turns":[{"id":1,"parent":7,"role":"user","text":"x"}]}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	q.choose("#import-file", file)
	q.until(`document.querySelector("#toast").innerText.includes("all.json cannot be imported: conversations[0].turns[0].parent: must be the id of a turn before it")`)
	q.until(titles + ` === "About dogs|Foxes"`)
}

// TestBranches says things otherwise, and goes between the ways they were said.
func TestBranches(t *testing.T) {
	p := enter(t, 1280, 800)
	p.hears("One", "first")
	p.hears("Two", "second")

	promised("other second")
	p.click(".turn:nth-child(3) [aria-label=Edit]")
	p.until(`document.activeElement.matches(".edit textarea")`)
	p.eval(`document.activeElement.select()`)
	p.write("Zwei")
	p.press("Enter")
	way.goOn <- true
	p.until(answered + ` && ` + lastReply + ` === "other second"`)
	messages := p.asked()["messages"]
	want := []any{
		map[string]any{"role": "user", "content": "One"}, map[string]any{"role": "assistant", "content": "first"}, map[string]any{"role": "user", "content": "Zwei"},
	}
	if !reflect.DeepEqual(messages, want) {
		t.Errorf("it sent %v, want %v", messages, want)
	}

	promised("third way")
	p.click(".assistant:last-child [aria-label=Again]")
	way.goOn <- true
	p.until(answered + ` && ` + lastReply + ` === "third way"`)
	p.until(`[...document.querySelectorAll(".ways")].map((e) => e.innerText).join() === "2/2,2/2"`)

	p.click(".turn:nth-child(3) [aria-label='Previous version']")
	p.until(lastReply + ` === "second" && document.querySelector(".turn:nth-child(3) .ways").innerText === "1/2"`)
	p.press("Enter") // the focus is on the way forth
	p.until(lastReply + ` === "third way"`)

	// A reply that is edited stands beside the one that came.
	p.click(".turn:nth-child(2) [aria-label=Edit]")
	p.eval(`document.activeElement.select()`)
	p.write("*corrected*")
	p.press("Ctrl+Enter")
	p.until(`document.querySelectorAll(".turn").length === 2 && ` + lastReply + ` === "corrected" && document.querySelector(".assistant:last-child .ways").innerText === "2/2"`)
	p.hears("And now?", "so")
	if got := p.asked()["messages"].([]any)[1].(map[string]any)["content"]; got != "*corrected*" {
		t.Errorf("the model was told %q", got)
	}
	p.reload()
	p.until(`document.querySelectorAll(".turn").length === 4 && ` + lastReply + ` === "so"`)

	p.click(".turn:nth-child(2) [aria-label=Remove]")
	p.until(`document.querySelectorAll(".turn").length === 4 && ` + lastReply + ` === "third way"`) // the other way
	p.click("#toast button")
	p.until(lastReply + ` === "so"`)
}

// TestFiles takes text with a message, and nothing else.
func TestFiles(t *testing.T) {
	p := enter(t, 1280, 800)
	const drop = `(() => {
		const d = new DataTransfer();
		d.items.add(new File([%s], %q));
		for (const type of ["dragenter", "drop"]) document.querySelector("#log").dispatchEvent(new DragEvent(type, { dataTransfer: d, bubbles: true, cancelable: true }));
	})()`
	p.eval(fmt.Sprintf(drop, `"package main // `+"```"+`"`, "main.go"))
	p.until(`document.querySelector("#attached").innerText.includes("main.go")`)
	p.eval(fmt.Sprintf(drop, `new Uint8Array([255, 0, 1])`, "cat.png"))
	p.until(`document.querySelector("#toast").innerText.includes("cat.png was not taken: it is not text in UTF-8")`)
	notes := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(notes, []byte("remember\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.choose("#file", notes)
	p.until(`document.querySelectorAll("#attached li").length === 2`)
	p.hears("What is this?", "Go.")
	want := "main.go:\n````go\npackage main // ```\n````\n\nnotes.txt:\n```txt\nremember\n```\n\nWhat is this?"
	if got := p.asked()["messages"].([]any)[0].(map[string]any)["content"]; got != want {
		t.Errorf("it sent %q, want %q", got, want)
	}
	p.until(`document.querySelector("#attached").hidden && document.querySelectorAll(".user .files details").length === 2`)
	p.click(".user .files summary")
	p.until(`document.querySelector(".user .files details[open] pre").innerText.includes("package main")`)
}

// TestCopy copies a reply as it was written, and code as it is.
func TestCopy(t *testing.T) {
	p := enter(t, 1280, 800)
	p.ask("", "Browser.grantPermissions", args{"permissions": []string{"clipboardReadWrite", "clipboardSanitizedWrite"}, "browserContextId": p.of}, nil)
	const reply = "See **this**:\n```go\nx := 1\n\ny := 2\n```"
	promised(reply)
	p.say("Show me code")
	way.goOn <- true
	p.until(answered)
	for button, want := range map[string]string{".copy": "x := 1\n\ny := 2", ".assistant [aria-label=Copy]": reply, ".user [aria-label=Copy]": "Show me code"} {
		p.click(button)
		p.until(`document.querySelector("` + button + `").classList.contains("done")`)
		if got := p.eval(`navigator.clipboard.readText()`); got != want {
			t.Errorf("%s copied %q, want %q", button, got, want)
		}
	}
	p.eval(`navigator.clipboard.writeText = () => Promise.reject(new Error("not by HTTP"))`)
	p.until(`!document.querySelector(".copy").classList.contains("done")`)
	p.click(".copy")
	p.until(`document.querySelector(".copy").classList.contains("done")`)
	if got := p.eval(`navigator.clipboard.readText()`); got != "x := 1\n\ny := 2" {
		t.Errorf("without leave it copied %q", got)
	}
}

// TestParameters shows what is in effect, and sends what is set and only that.
func TestParameters(t *testing.T) {
	p := enter(t, 1280, 800)
	if os.Getenv("TROUPE_TEST_MODEL") != "" {
		t.Skip("what is expected is in the small checkpoint's generation_config.json")
	}
	p.until(`document.querySelector("#h-temperature").innerText.startsWith("Default 0.6")`)
	for name, want := range map[string]string{
		"top_p": "Default 0.95", "top_k": "Default 20", "min_p": "Default 0 ", "max_tokens": "Default what is left of 2,048", "min_tokens": "Default 0 ",
		"repetition_penalty": "Default 1 ", "presence_penalty": "Default 0 ", "frequency_penalty": "Default 0 ", "seed": "Default drawn anew", "stop": "Default none", "logit_bias": "Default none",
	} {
		if got := p.eval(`document.querySelector("#h-` + name + `").textContent`).(string); !strings.HasPrefix(got, want) {
			t.Errorf("%s says %q, want %q", name, got, want)
		}
	}
	p.hears("Hello", "one")
	body := p.asked()
	delete(body, "messages")
	want := map[string]any{"stream": true, "stream_options": map[string]any{"include_usage": true}, "logprobs": true, "top_logprobs": 5.0}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("without parameters it sent %v", body)
	}

	p.click("#open-settings")
	for _, f := range []struct{ name, text string }{
		{"temperature", "0.5"},
		{"top_p", "0.9"},
		{"top_k", "7"},
		{"min_p", "0.1"},
		{"max_tokens", "9"},
		{"min_tokens", "1"},
		{"repetition_penalty", "1.1"},
		{"presence_penalty", "-1"},
		{"frequency_penalty", "0.25"},
		{"seed", "42"},
		{"stop", "END\n."},
		{"logit_bias", `{"5":-100}`},
	} {
		p.eval(`document.querySelector("#p-` + f.name + `").focus()`)
		p.write(f.text)
	}
	p.click("#system")
	p.write("Be brief.")
	p.click("#probabilities")
	p.press("Escape")
	p.until(`document.querySelector("#set").textContent === "13"`)
	p.click("#prompt")
	p.hears("Hello", "two")
	body = p.asked()
	if got := body["messages"].([]any)[0]; !reflect.DeepEqual(got, map[string]any{"role": "system", "content": "Be brief."}) {
		t.Errorf("the first message is %v", got)
	}
	delete(body, "messages")
	want = map[string]any{
		"stream": true, "stream_options": map[string]any{"include_usage": true},
		"temperature": 0.5, "top_p": 0.9, "top_k": 7.0, "min_p": 0.1, "max_tokens": 9.0, "min_tokens": 1.0, "repetition_penalty": 1.1,
		"presence_penalty": -1.0, "frequency_penalty": 0.25, "seed": 42.0, "stop": []any{"END", "."}, "logit_bias": map[string]any{"5": -100.0},
	}
	if !reflect.DeepEqual(body, want) {
		t.Errorf("with parameters it sent %v", body)
	}
	way.says.Store(nil)
	p.say("The server takes them, too")
	p.until(`document.querySelector("#stop").hidden && document.querySelectorAll(".assistant").length === 3`)
	if p.eval(errorShown) == true {
		t.Errorf("the server refuses them: %v", p.eval(errorText))
	}
}

// TestEffort offers what the model's template knows of, and nothing else.
func TestEffort(t *testing.T) {
	p := enter(t, 1280, 800)
	p.until(`document.querySelector("#h-temperature").innerText.startsWith("Default")`)
	if p.eval(`document.querySelector("#p-reasoning_effort").closest(".field").hidden`) != true {
		t.Error("an effort is offered that the server refuses")
	}
	p.ask(p.session, "Page.enable", nil, nil)
	p.ask(p.session, "Page.addScriptToEvaluateOnNewDocument", args{"source": `{
		const asked = fetch;
		window.fetch = async (url, init) => {
			const answer = await asked(url, init);
			if (url !== "stats") return answer;
			const stats = await answer.json();
			stats.sampling.reasoning_efforts = ["none", "high"];
			return Response.json(stats);
		};
	}`}, nil)
	p.reload()
	p.until(`!document.querySelector("#p-reasoning_effort").closest(".field").hidden`)
	p.eval(`(() => {
		const field = document.querySelector("#p-reasoning_effort");
		field.value = "high";
		field.dispatchEvent(new Event("input", { bubbles: true }));
	})()`)
	p.click("#prompt")
	p.hears("Think", "Thought.")
	if got := p.asked()["reasoning_effort"]; got != "high" {
		t.Errorf("it asked for %v", got)
	}
	p.reload()
	p.until(`document.querySelector("#p-reasoning_effort").value === "high"`)
}

// TestProbabilities shows how likely each token was, where it stands in the
// reply, and in the reply as tokens.
func TestProbabilities(t *testing.T) {
	p := enter(t, 1280, 800)
	choice := func(tokens ...string) string {
		content, entries := "", []string{}
		for _, token := range tokens {
			content += token
			entries = append(entries, fmt.Sprintf(`{"token":%[1]q,"logprob":-0.693,"bytes":[],"top_logprobs":[{"token":%[1]q,"logprob":-0.693,"bytes":[]},{"token":" cat","logprob":-2.303,"bytes":[]}]}`, token))
		}
		return fmt.Sprintf(`{"delta":{"content":%q},"index":0,"finish_reason":null,"logprobs":{"content":[%s]}}`, content, strings.Join(entries, ","))
	}
	way.says.Store(&[]string{choice("A ", "**", "quick"), choice(" brown", "**", " fox", "."), `{}`})
	p.say("Go on")
	way.goOn <- true
	p.until(answered)

	at := p.eval(`(() => {
		const r = document.createRange();
		r.selectNodeContents(document.querySelector(".assistant strong"));
		const b = r.getBoundingClientRect();
		return [b.right - 8, b.y + b.height / 2];
	})()`).([]any)
	p.point(at[0], at[1])
	p.until(`!document.querySelector("#tip").hidden && document.querySelector("#tip .drawn").innerText.replace(/\s+/g, " ") === "␣brown 50 %" && document.querySelector("#tip").innerText.includes("␣cat")`)
	p.point(5, 5)
	p.until(`document.querySelector("#tip").hidden`)

	p.click("[aria-label='Token probabilities']")
	p.until(`[...document.querySelectorAll(".token")].map((e) => e.textContent).join("|") === "A |**|quick| brown|**| fox|."`)
	p.eval(`document.querySelector(".token").focus()`)
	p.press("ArrowRight")
	p.press("ArrowRight")
	p.until(`document.activeElement.textContent === "quick" && document.querySelector("#tip .drawn").innerText.includes("quick")`)
	p.click("[aria-label='Token probabilities']")
	p.until(`document.querySelector(".assistant strong") !== null && document.querySelectorAll(".token").length === 0`)

	way.says.Store(nil)
	p.limit("6")
	p.say("What does the server say?")
	p.until(`document.querySelectorAll(".assistant").length === 2 && ` + answered)
	p.click(".assistant:last-child [aria-label='Token probabilities']")
	p.until(`document.querySelectorAll(".token").length >= 5`)
}

// TestKeyboard does with keys what the help lists.
func TestKeyboard(t *testing.T) {
	p := enter(t, 1280, 800)
	p.hears("One", "first")
	promised("second")
	p.press("Ctrl+Shift+Enter")
	way.goOn <- true
	p.until(answered + ` && ` + lastReply + ` === "second" && document.querySelector(".ways").innerText === "2/2"`)

	p.press("ArrowUp")
	p.until(`document.activeElement.matches(".edit textarea")`)
	p.press("Escape")
	p.until(`document.activeElement.id === "prompt" && !document.querySelector(".edit")`)

	p.press("Ctrl+Alt+KeyN")
	p.until(`document.querySelectorAll(".turn").length === 0`)
	p.hears("Two", "other")
	p.press("Alt+ArrowDown")
	p.until(lastReply + ` === "second"`)
	p.press("Alt+ArrowUp")
	p.until(lastReply + ` === "other"`)
	p.press("Ctrl+Shift+Backspace")
	p.until(titles + ` === "One" && ` + lastReply + ` === "second"`)

	for _, c := range []struct{ keys, was, is string }{
		{"Ctrl+KeyB", `document.querySelector("#list").checkVisibility()`, `!document.querySelector("#list").checkVisibility()`},
		{"Ctrl+Period", `document.querySelector("#live").checkVisibility()`, `!document.querySelector("#live").checkVisibility()`},
	} {
		p.until(c.was)
		p.press(c.keys)
		p.until(c.is)
		p.press(c.keys)
		p.until(c.was)
	}
	for keys, dialog := range map[string]string{"Ctrl+Comma": "#settings", "Ctrl+Slash": "#help"} {
		p.press(keys)
		p.until(`document.querySelector("` + dialog + `").open`)
		p.press("Escape")
		p.until(`!document.querySelector("` + dialog + `").open`)
	}
}

// TestManyReplies has one come in one conversation while another is read.
func TestManyReplies(t *testing.T) {
	p := enter(t, 1280, 800)
	promised("late")
	p.say("Slow")
	p.until(`document.querySelectorAll(".turn").length === 2 && !document.querySelector("#stop").hidden`)
	p.press("Ctrl+Alt+KeyN")
	p.until(`document.querySelectorAll(".turn").length === 0 && document.querySelector("#stop").hidden && document.querySelector("#chats .running") !== null`)
	way.goOn <- true
	p.until(`document.querySelector("#chats .running") === null`)
	p.click("#chats .open")
	p.until(answered + ` && ` + lastReply + ` === "late"`)
	p.click("#prompt")

	// One that is deleted stops, and does not come back by itself.
	way.says.Store(nil)
	way.holds.Store(true)
	left := way.left.Load()
	p.say("Tell me a story")
	p.until(`document.querySelectorAll(".assistant").length === 2 && ` + lastReply + ` !== ""`)
	p.press("Ctrl+Shift+Backspace")
	for way.left.Load() == left { // until its request is cancelled; the test's own time limit bounds this
		p.eval(`new Promise(requestAnimationFrame)`)
	}
	p.until(titles + ` === "" && document.querySelectorAll(".turn").length === 0`)
	p.reload()
	p.until(`document.readyState === "complete" && ` + titles + ` === ""`)
}

// TestMakesRoom fills what the browser keeps: probabilities of old replies give
// way to what is said, and when nothing is left to give, the person is told.
func TestMakesRoom(t *testing.T) {
	p := enter(t, 1280, 800)
	tokens := make([]any, 5000)
	for i := range tokens {
		tokens[i] = []any{"an old token", -1, []any{[]any{"another old token", -2}}}
	}
	old, err := json.Marshal(map[string]any{"format": "troupe.conversations", "version": 1, "conversations": []any{map[string]any{"turns": []any{
		map[string]any{"id": 1, "parent": 0, "role": "user", "text": "Old"}, map[string]any{"id": 2, "parent": 1, "role": "assistant", "text": "kept", "tokens": tokens},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "old.json")
	if err := os.WriteFile(file, old, 0o600); err != nil {
		t.Fatal(err)
	}
	p.choose("#import-file", file)
	p.until(titles + ` === "Old"`)
	const fill = `(() => {
		let n = 0;
		for (let size = 1 << 20; size >= 1 << 10; size /= 4) {
			try { for (;;) localStorage.setItem("junk" + n++, "x".repeat(size)); } catch {}
		}
	})()`
	p.eval(fill)
	p.click("nav .new-chat")
	p.click("#prompt")
	promised("noted")
	p.say("New " + strings.Repeat("and long ", 10000))
	way.goOn <- true
	p.until(answered)
	if p.eval(`document.querySelector("#toast").hidden || !document.querySelector("#toast").innerText.includes("keeps no more")`) != true {
		t.Error("there was room to be made, and it says that there is none")
	}
	p.eval(fill)
	p.reload()
	p.until(lastReply + ` === "noted"`)
	p.click("#chats li:nth-child(2) .open")
	p.until(lastReply + ` === "kept" && document.querySelector("[aria-label='Token probabilities']") === null`)

	p.click("#prompt")
	promised("heard")
	p.say("Again " + strings.Repeat("and long ", 10000))
	way.goOn <- true
	p.until(answered + ` && ` + lastReply + ` === "heard" && document.querySelector("#toast").innerText.includes("The browser keeps no more")`)
}

// TestTakesOver finds what an earlier page kept.
func TestTakesOver(t *testing.T) {
	p := enter(t, 1280, 800)
	old, err := json.Marshal([]map[string]any{{"role": "user", "text": "Old"}, {"role": "assistant", "text": "kept", "note": "12 tokens"}})
	if err != nil {
		t.Fatal(err)
	}
	p.eval(`localStorage.setItem("troupe.turns", ` + quoted(string(old)) + `)`)
	p.reload()
	p.until(titles + ` === "Old" && ` + lastReply + ` === "kept"`)
	p.reload()
	p.until(titles + ` === "Old"`)
}
