package pagetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// enter opens the playground and, once it asks for one, gives the key.
func enter(t *testing.T, width, height int) *tab {
	t.Helper()
	if chrome == nil {
		t.Skip("no Chromium is installed (CHROMIUM may name one)")
	}
	way.holds.Store(false)
	way.breaks.Store(false)
	way.hides.Store(false)
	way.says.Store(nil)
	way.also.Store(nil)
	p := chrome.open(t, width, height)
	p.prefer("light")
	p.visit(proxy.URL + "/")
	p.until(`!document.querySelector("#key-form").hidden && document.activeElement.id === "key"`)
	p.write(key)
	p.press("Enter")
	p.until(`document.querySelector("#model").textContent !== ""`)
	return p
}

// say writes a message and sends it with the keyboard.
func (p *tab) say(text string) {
	p.t.Helper()
	p.until(`document.activeElement.id === "prompt"`)
	p.write(text)
	p.press("Enter")
}

// limit sets how long replies get.
func (p *tab) limit(tokens string) {
	p.t.Helper()
	p.click("#open-settings")
	p.until(`document.querySelector("#settings").open`)
	p.click("#p-max_tokens")
	p.write(tokens)
	p.click("#p-temperature")
	p.write("0")
	p.press("Escape")
	p.until(`!document.querySelector("#settings").open`)
	p.click("#prompt")
}

const (
	answered   = `document.querySelector("#stop").hidden && document.querySelector(".assistant:last-child [aria-label=Again]") !== null`
	lastReply  = `document.querySelector(".assistant:last-child .text").innerText`
	replyNote  = `document.querySelector(".assistant:last-child .foot").innerText`
	errorShown = `document.querySelector(".assistant:last-child .error") !== null`
	errorText  = `document.querySelector(".assistant:last-child .error").innerText`
)

// promised makes the reply's text known before it is asked for.
func promised(text string) {
	delta, _ := json.Marshal(map[string]string{"content": text}) // a string always is
	way.says.Store(&[]string{string(delta), `{}`})
}

// hears says something and gets a reply.
func (p *tab) hears(question, reply string) {
	p.t.Helper()
	promised(reply)
	p.say(question)
	way.goOn <- true
	p.until(answered + ` && ` + lastReply + ` === ` + quoted(reply))
}

// asked is the body of the last request that got a promised reply.
func (p *tab) asked() (body map[string]any) {
	p.t.Helper()
	if err := json.Unmarshal(*way.asked.Load(), &body); err != nil {
		p.t.Fatal(err)
	}
	return body
}

// TestConversation writes, reads, and finds it all again after a reload, also
// with the model: the second question's prompt holds the first.
func TestConversation(t *testing.T) {
	p := enter(t, 1280, 800)
	p.limit("12")
	p.say("Hello <b>there</b>")
	p.until(answered)
	first, note := p.eval(lastReply), p.eval(replyNote).(string)
	if first == "" || !strings.Contains(note, "12 tokens · ") || !strings.Contains(note, " tokens/s · first token after") {
		t.Errorf("the reply is %q, its note %q", first, note)
	}
	if got := p.eval(`document.querySelector(".user .text").textContent`); got != "Hello <b>there</b>" {
		t.Errorf("the message became %q", got)
	}
	if got := p.eval(`document.querySelector("#speed").textContent`).(string); !strings.HasSuffix(got, " tokens/s") {
		t.Errorf("the speed is %q", got)
	}
	p.say("And who are you?")
	p.until(`document.querySelectorAll(".assistant").length === 2 && ` + answered)
	all := p.eval(`document.querySelector("#log").innerText`)

	p.reload()
	p.until(`document.querySelectorAll(".assistant").length === 2`)
	if got := p.eval(`document.querySelector("#log").innerText`); got != all {
		t.Errorf("after a reload the conversation is\n%s\nwant\n%s", got, all)
	}
	p.until(`document.querySelector("#model").textContent !== ""`) // the key is kept as well
	if got := p.eval(`document.querySelector("#p-max_tokens").value`); got != "12" {
		t.Errorf("max_tokens became %q", got)
	}

	p.click("nav .new-chat")
	p.until(`document.querySelectorAll(".turn").length === 0 && !document.querySelector("#empty").hidden`)
	p.reload()
	p.until(`document.querySelectorAll("#chats .open").length === 1`)
}

// TestThoughtsAndCalls shows reasoning while there is nothing else, then folds
// it; shows the tools that a reply calls, and sends their results.
func TestThoughtsAndCalls(t *testing.T) {
	p := enter(t, 1280, 800)
	p.click("#open-settings")
	p.until(`document.querySelector("#settings").open`)
	p.click("#tools")
	p.write(`[{`)
	if p.eval(`document.querySelector("#tools").checkValidity()`) == true {
		t.Error("half an array is taken for tools")
	}
	p.write(`"type":"function","function":{"name":"weather"}}]`)
	p.press("Escape")
	p.until(`!document.querySelector("#settings").open`)
	p.click("#prompt")

	way.says.Store(&[]string{
		`{"role":"assistant","content":""}`, `{"reasoning_content":"Two "}`, `{"reasoning_content":"places."}`, `{"content":"Let me see."}`,
	})
	const thought = `document.querySelector(".assistant:last-child .thought")`
	p.say("Rain?")
	p.until(thought + `?.open && ` + thought + `.innerText.includes("Thinking") && ` + thought + `.innerText.includes("Two places.")`)
	way.goOn <- true
	p.until(answered)
	if p.eval(thought+`.open`) == true || p.eval(thought+`.querySelector("summary").innerText`) != "Thoughts" || p.eval(lastReply) != "Let me see." {
		t.Errorf("afterwards: %v", p.eval(`document.querySelector(".assistant:last-child").innerText`))
	}
	p.click(".assistant:last-child summary")
	p.until(thought + `.open`)

	way.says.Store(&[]string{
		`{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}`,
		`{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": "}}]}`, `{"tool_calls":[{"index":0,"function":{"arguments":"\"Oslo\"}"}}]}`,
	})
	p.click("#prompt")
	p.say("Well?")
	const calls = `document.querySelector(".assistant:last-child .calls")`
	p.until(calls + `?.innerText.includes("weather") && ` + calls + `.innerText.includes('{"city": ')`)
	way.goOn <- true
	p.until(calls + `.innerText.includes('"city": "Oslo"') && document.querySelector("#result-0") !== null`)

	way.says.Store(&[]string{`{"content":"No rain."}`})
	p.click("#result-0")
	p.write(`{"rain":false}`)
	p.click(".results button")
	way.goOn <- true
	p.until(`document.querySelector(".tool")?.innerText.includes('"rain": false') && ` + answered)
	var request struct {
		Tools    []any
		Messages []struct {
			Role, Content string
			ToolCallID    string `json:"tool_call_id"`
			ToolCalls     []struct {
				ID       string
				Function struct{ Name, Arguments string }
			} `json:"tool_calls"`
		}
	}
	if err := json.Unmarshal(*way.asked.Load(), &request); err != nil {
		t.Fatal(err)
	}
	last := request.Messages[len(request.Messages)-1]
	called := request.Messages[len(request.Messages)-2].ToolCalls
	if len(request.Tools) != 1 || last.Role != "tool" || last.Content != `{"rain":false}` || last.ToolCallID != "call_1" ||
		len(called) != 1 || called[0].ID != "call_1" || called[0].Function.Arguments != `{"city": "Oslo"}` {
		t.Errorf("it sent %s", *way.asked.Load())
	}
	all := p.eval(`document.querySelector("#log").innerText`)
	p.reload()
	p.until(`document.querySelectorAll(".turn").length === 6`)
	if got := p.eval(`document.querySelector("#log").innerText`); !strings.Contains(all.(string), "No rain.") || got.(string) == "" {
		t.Errorf("after a reload the conversation is %q, was %q", got, all)
	}
}

// TestStop stops a reply in its middle, by the button and by the keyboard: what
// came stays, the server learns of it, and the next reply is whole.
func TestStop(t *testing.T) {
	p := enter(t, 390, 844)
	p.limit("8")
	way.holds.Store(true)
	for i, stop := range []func(){func() { p.click("#stop") }, func() { p.press("Escape") }} {
		left := way.left.Load()
		p.say("Tell me a story about a fox")
		p.until(fmt.Sprintf(`document.querySelectorAll(".assistant").length === %d && %s !== "" && !document.querySelector("#stop").hidden`, i+1, lastReply))
		stop()
		p.until(`document.querySelector("#stop").hidden && ` + replyNote + `.includes("stopped")`)
		if p.eval(lastReply) == "" || p.eval(errorShown) == true {
			t.Error("what came is gone, or stopping is taken for an error")
		}
		for way.left.Load() == left { // until its request is cancelled; the test's own time limit bounds this
			p.eval(`new Promise(requestAnimationFrame)`)
		}
	}
	way.holds.Store(false)
	p.say("Once more")
	p.until(`document.querySelectorAll(".assistant").length === 3 && ` + answered)
}

// TestInterrupted reloads while a reply is being written.
func TestInterrupted(t *testing.T) {
	p := enter(t, 390, 844)
	way.holds.Store(true)
	p.say("Tell me a story about a fox")
	p.until(`document.querySelectorAll(".assistant").length === 1 && ` + lastReply + ` !== ""`)
	text := p.eval(lastReply)
	p.reload()
	p.until(replyNote + `.includes("interrupted")`)
	if got := p.eval(lastReply); got != text {
		t.Errorf("of %q there is left %q", text, got)
	}
}

// TestErrors shows what went wrong, and goes on from there: a reply that failed
// can be tried again, its question changed, both removed and taken back.
func TestErrors(t *testing.T) {
	p := enter(t, 390, 844)
	p.limit("8")

	way.breaks.Store(true)
	p.say("Tell me a story about a fox")
	p.until(errorShown + ` && ` + errorText + `.includes("The device failed")`)
	if p.eval(lastReply) == "" {
		t.Error("what came before the error is gone")
	}
	p.reload()
	p.until(errorShown)
	p.click(".error button") // Try again
	p.until(answered + ` && !(` + errorShown + `)`)
	if n := p.eval(`document.querySelectorAll(".turn").length`); n != 2.0 {
		t.Errorf("after trying again there are %v turns", n)
	}

	p.say(strings.Repeat("far too long ", 3000))
	p.until(errorShown + ` && ` + errorText + `.includes("tokens")`)
	p.click(".error button:nth-of-type(2)") // Edit message
	p.until(`document.querySelector(".edit textarea")?.value.startsWith("far too long")`)
	p.eval(`document.querySelector(".edit textarea").select()`)
	p.write("short")
	p.press("Enter")
	p.until(answered + ` && !(` + errorShown + `) && [...document.querySelectorAll(".user .ways")].at(-1).innerText === "2/2"`)

	p.click(".user:nth-last-child(2) [aria-label='Previous version']")
	p.until(errorShown)
	p.click(".error button:nth-of-type(3)") // Remove
	p.until(`!(` + errorShown + `) && ` + lastReply + ` !== "" && document.querySelectorAll(".ways").length === 0`)
	p.click("#toast button") // Undo
	p.until(errorShown)

	p.eval(`sessionStorage.setItem("troupe.key", '"wrong"')`)
	p.reload()
	p.until(`!document.querySelector("#key-form").hidden && document.activeElement.id === "key"`)
	p.write(key)
	p.press("Enter")
	p.until(`document.querySelector("#model").textContent !== ""`)
}

// TestBackstage finds every actor at work, and behind a button on a narrow
// screen.
func TestBackstage(t *testing.T) {
	p := enter(t, 1280, 800)
	p.limit("60")
	p.say("Hello")
	p.until(answered)
	for _, name := range []string{"tokenizer 0", "scheduler", "executor", "detokenizer"} {
		p.until(`[...document.querySelectorAll("#actors th")].some((e) => e.textContent === ` + quoted(name) + `)`)
	}
	p.until(`document.querySelector("#health").textContent === "ready"`)
	p.until(`/\d+ tokens a page/.test(document.querySelector("#pages-note").textContent)`)
	p.until(`/^\d/.test(document.querySelector("#rate").textContent)`) // the second look

	// The last reply's journey: each stage where it was, one after the other, and
	// at most as long as its reader waited.
	p.until(`document.querySelectorAll("#stages li").length === 6`)
	p.until(`document.querySelector("#journey-note").textContent.includes(" tokens in ")`)
	const edges = `[...document.querySelectorAll("#lanes .stage")].map((e) => [e.className, parseFloat(e.style.left), parseFloat(e.style.left) + parseFloat(e.style.width)])
		.sort((a, b) => a[1] - b[1])`
	if p.eval(edges+`.some(([, left, right], i, all) => left < 0 || right > 100.01 || right < left - 0.01 || i > 0 && left < all[i - 1][2] - 0.01)`) == true {
		t.Errorf("the stages overlap, or leave the scale: %v", p.eval(edges))
	}
	if ticks := p.eval(`document.querySelectorAll("#lanes .tick").length`).(float64); ticks < 2 || ticks > 120 { // once computed, once sent; some come together
		t.Errorf("%v ticks for at most 60 tokens", ticks)
	}
	const computed = `parseFloat(document.querySelector("#lanes .prefill").style.width)`
	width := p.eval(computed)
	p.click("#scale-first")
	// How much larger it is now, only the machine knows.
	p.until(`document.querySelector("#scale-first").ariaPressed === "true" && ` + fmt.Sprintf("%s >= %v", computed, width))

	p.size(390, 844)
	p.until(`document.querySelector("#live").offsetParent === null`)
	p.click("#toggle-live")
	p.until(`document.querySelector("#live").offsetParent !== null && document.querySelector("#chat").offsetParent === null`)
}

// TestNoBackstage shows nothing of it where /stats is not to be had.
func TestNoBackstage(t *testing.T) {
	p := enter(t, 1280, 800)
	p.until(`document.querySelector("#health").textContent === "ready"`)
	for _, width := range []int{1280, 390} {
		way.hides.Store(true)
		p.size(width, 800)
		p.reload()
		p.until(`!document.querySelector("#toggle-live").checkVisibility() && document.querySelector("#model").textContent !== ""`)
		p.press("Ctrl+Period")
		p.press("Ctrl+Slash")
		p.until(`document.querySelector("#help").open`)
		if p.eval(`document.querySelector("#help").innerText.includes("Backstage") || document.querySelector("#live").checkVisibility()`) == true {
			t.Errorf("%d pixels wide there is something of it", width)
		}
		p.press("Escape")
		p.click("#prompt")
		p.hears("Hello", "one")
	}
	way.hides.Store(false)
	p.size(1280, 800)
	p.reload()
	p.until(`document.querySelector("#live").checkVisibility() && document.querySelector("#health").textContent === "ready"`)
}
