package leniency

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite http/FIELDS.md")

// http/FIELDS.md is the table.
func TestPage(t *testing.T) {
	const file = "../../../FIELDS.md"
	if *update {
		if err := os.WriteFile(file, []byte(page()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != page() {
		t.Errorf("%s is not what the table says (rewrite with -update): %v", file, err)
	}
}

// page is the table for people, in Markdown.
func page() string {
	var b strings.Builder
	b.WriteString(`# Fields that are another server's

What becomes of a request's fields that have no meaning of their own here. It is written by a test from the table that all APIs read
(` + "`http/internal/dialect/leniency/rows.go`" + `); the fields that have one are in [openapi.json](openapi.json). A field that is in neither is ignored:
the response names it in ` + "`X-Ignored-Fields`" + `, and the log does so once. With ` + "`--strict-fields`" + ` what is ignored is refused. Null is as good
as absent. A star stands for anything.

| field | of | what becomes of it | |
| --- | --- | --- | --- |
`)
	for i := range Rows {
		r := &Rows[i]
		fate := r.Fate.String()
		switch {
		case r.Fate == Mapped:
			fate = "read as `" + r.As + "`"
		case r.Only != "":
			fate = "refused, but for `" + r.Only + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", r.Name, names(r.API), fate, r.Why)
	}
	return b.String()
}

func names(a API) string {
	if a == Chat|Text|Responses|Messages {
		return "all"
	}
	var all []string
	for i, name := range []string{"chat", "text", "responses", "messages"} {
		if a&(1<<i) != 0 {
			all = append(all, name)
		}
	}
	return strings.Join(all, ", ")
}
