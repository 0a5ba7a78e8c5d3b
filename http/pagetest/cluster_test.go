package pagetest

import (
	"encoding/json"
	"fmt"
	"testing"
)

// engines has /stats tell of engines, each by its number, host, state and how many open requests it has, the
// last of which had another engine before; and of others at the front.
func engines(front int, all ...[4]any) string {
	var list, open []any
	request := func(engine, moves int) {
		open = append(open, map[string]any{"number": len(open) + 1, "engine": engine, "moves": moves})
	}
	for range front {
		request(-1, 0)
	}
	for _, e := range all {
		number, n := e[0].(int), e[3].(int)
		list = append(list, map[string]any{
			"name": fmt.Sprintf("%s:794%d", e[1], number), "number": number, "host": e[1], "state": e[2], "ready": e[2] == "ready", "version": "v0.1.0", "hardware": "NVIDIA H200",
			"running": n, "waiting": 0, "pages_used": 20, "pages_cached": 30, "pages_free": 50, "generated": 1000, "clock_error_seconds": 0.0004,
		})
		for i := range n {
			request(number, i/(n-1))
		}
	}
	text, _ := json.Marshal(map[string]any{"engines": list, "open": open, "resumed": 1}) // it can be written
	return string(text)
}

// twoHosts is a cluster of three engines, one of which has 40 requests.
var twoHosts = engines(2, [4]any{0, "10.0.0.1", "ready", 3}, [4]any{2, "10.0.0.1", "mending", 2}, [4]any{5, "10.0.0.2", "lost", 40})

const (
	dotsOf = `[...document.querySelectorAll(".dot")].filter((d) => { const e = %s.getBoundingClientRect(), r = d.getBoundingClientRect(); return r.left >= e.left - 1 && r.right <= e.right + 1 && r.top >= e.top - 1 && r.bottom <= e.bottom + 1; }).length`
	rowOf  = `[...document.querySelectorAll(".engine")].find((e) => e.querySelector("b").textContent === %q)`
)

// inRow is how many dots are drawn at an engine.
func inRow(name string) string {
	return fmt.Sprintf(dotsOf, fmt.Sprintf(rowOf, name)+`.querySelector(".seats")`)
}

// TestCluster draws the engines by their hosts, and requests where they are; one whose engine is lost moves to
// another, and engines that leave are drawn no more.
func TestCluster(t *testing.T) {
	p := enter(t, 1280, 900)
	p.until(`document.querySelector("#health").textContent === "ready"`)
	if p.eval(`document.querySelector("#cluster").hidden`) != true {
		t.Error("there is but one engine, and it is drawn")
	}
	way.also.Store(&twoHosts)
	t.Cleanup(func() { way.also.Store(nil) })
	p.until(`document.querySelectorAll(".dot").length === 47`)
	for what, is := range map[string]string{
		"two hosts":            `document.querySelectorAll(".host").length === 2 && document.querySelector(".host h4").textContent === "10.0.0.1"`,
		"their states":         `[...document.querySelectorAll(".engine")].map((e) => e.dataset.state).join() === "ready,mending,lost"`,
		"KV and version":       `document.querySelector(".engine .note").textContent === "KV 20 % used, 30 % cached; NVIDIA H200; v0.1.0"`,
		"what happened":        `document.querySelector("#cluster-note").textContent.startsWith("1 of 3 engines ready, on 2 hosts. 1 request went on with another engine.")`,
		"two at the front":     fmt.Sprintf(dotsOf, `document.querySelector("#at-front")`) + ` === 2`,
		"three at the first":   inRow(":7940") + ` === 3`,
		"forty in some lines":  inRow(":7945") + ` === 40`,
		"which had moved":      `document.querySelectorAll(".dot.moved").length === 3`,
		"nothing beyond edges": `document.querySelector("#live").scrollWidth <= document.querySelector("#live").clientWidth`,
	} {
		if p.eval(is) != true {
			t.Errorf("there is not %s: %v", what, p.eval(`document.querySelector("#cluster").innerText`))
		}
	}
	p.eval(`window.first = document.querySelectorAll(".dot")[2], 1`)
	moved := engines(0, [4]any{0, "10.0.0.1", "ready", 8})
	way.also.Store(&moved)
	p.until(`document.querySelectorAll(".dot").length === 8 && document.querySelectorAll(".engine").length === 1`)
	p.until(inRow(":7940") + ` === 8`)
	if p.eval(`window.first.isConnected`) != true {
		t.Error("a request that moves is drawn anew")
	}
	way.also.Store(nil)
	p.until(`document.querySelector("#cluster").hidden`)
}

// TestModels offers a choice where several models are served, asks the one that was chosen, also after a reload, and
// says which engines have it.
func TestModels(t *testing.T) {
	list := `{"data": [{"id": "small", "root": "s"}, {"id": "tiny", "root": "s"}, {"id": "large", "root": "l", "max_model_len": 100}]}`
	stats := `{"engines": [{"model": "small", "name": "10.0.0.1:7", "number": 0, "host": "10.0.0.1", "state": "ready", "ready": true, "running": 0, "waiting": 0, "pages_used": 0, "pages_cached": 0, "pages_free": 1, "generated": 0}],
		"models": [{"name": "small", "ready": true, "engines": 1, "open": 2}, {"name": "large", "ready": false, "engines": 0, "open": 0}], "open": []}`
	way.models.Store(&list)
	t.Cleanup(func() { way.models.Store(nil); way.also.Store(nil) })
	p := enter(t, 1280, 900)
	way.also.Store(&stats)
	p.until(`[...document.querySelectorAll("#models option")].map((o) => o.value).join() === "small,large" && !document.querySelector("#models").hidden && document.querySelector("#model").hidden`)
	p.until(`document.querySelector("#cluster-note").textContent.includes("small: 2 open requests. large: 0 open requests, no engine.") && document.querySelector(".engine .note").textContent.startsWith("small; ")`)
	p.hears("Hello", "Hi.")
	if got := p.asked()["model"]; got != "small" {
		t.Errorf("it asked %v", got)
	}
	p.eval(`document.querySelector("#models").value = "large", document.querySelector("#models").dispatchEvent(new Event("change")), 1`)
	p.hears("And you?", "Hm.")
	if got := p.asked()["model"]; got != "large" {
		t.Errorf("it asked %v", got)
	}
	p.reload()
	p.until(`document.querySelector("#models").value === "large"`)
}
