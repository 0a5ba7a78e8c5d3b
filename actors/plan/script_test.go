package plan

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/troupe-llm/troupe/gpu/batch"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// A script is a story about one rule: its first line says what it shows, then
// come commands, each with what they print indented below.
//
//	config slots=2 pages=8 size=4 seq=32 step=16 overlap cache=naive states snapshots=N target=N drafts=N draws=N idle=N …
//	add NAME TOKENS [given=TOKENS] [max=N] [min=N] [stop=T] [prio=N] [of=CLIENT] [ignore] [odd] [only] [score] [draft]
//	         TOKENS: 1,2,3 or 10-14 or both; +NAME stands for all of NAME's
//	step     build a step; prints its rows and what it tells the device
//	commit   [NAME=TOKENS]…: the oldest step is done; other requests draw
//	         100 and their number of tokens so far
//	masks    what the last step was built without
//	abort NAME | finish NAME | reset | pages | wait | served
//
// "draft" has a request's tokens drafted, "odd" constrains a request to odd tokens; one of "only" its prompt draws nothing;
// "pages" prints who has what, *N for a page with snapshot N;
// "wait" prints the queue, "served" what clients had of the device.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts in testdata: ", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := (&script{named: map[string]*Request{}}).play(t, string(want))
			if *update {
				err = os.WriteFile(file, []byte(got), 0o644)
			} else if got != string(want) {
				t.Errorf("%s plays differently now:\n%s", file, difference(string(want), got))
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// difference is the first place where two texts part, with what led there.
func difference(want, got string) string {
	w, g := strings.Split(want, "\n"), strings.Split(got, "\n")
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	from := max(0, i-5)
	return fmt.Sprintf("line %d\nwant:\n%s\ngot:\n%s", i+1, strings.Join(w[from:min(len(w), i+6)], "\n"), strings.Join(g[from:min(len(g), i+6)], "\n"))
}

type script struct {
	p     *Planner
	named map[string]*Request
	out   strings.Builder
}

func (s *script) play(t *testing.T, text string) string {
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	fmt.Fprintln(&s.out, lines[0])
	for _, line := range lines[1:] {
		if strings.HasPrefix(line, "    ") {
			continue // printed by the last command
		}
		fmt.Fprintln(&s.out, line)
		words := strings.Fields(line)
		if len(words) == 0 || words[0] == "#" {
			continue
		}
		if err := s.do(words[0], words[1:]); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if s.p != nil {
			if err := s.p.audit(); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
		}
	}
	return s.out.String()
}

func (s *script) say(format string, args ...any) { fmt.Fprintf(&s.out, "    "+format+"\n", args...) }

func (s *script) do(command string, args []string) error {
	switch command {
	case "config":
		return s.config(args)
	case "add":
		return s.add(args)
	case "step":
		s.step()
	case "commit":
		return s.commit(args)
	case "masks":
		s.masks()
	case "abort":
		s.say("%v", s.p.Abort(s.named[args[0]].ID))
	case "finish":
		s.say("%v", s.p.Finish(s.named[args[0]].ID, Stop))
	case "reset":
		s.p.Reset()
	case "pages":
		s.pages()
	case "served":
		for _, name := range slices.Sorted(maps.Keys(s.p.queue.clients)) {
			c := s.p.queue.clients[name]
			s.say("%s: %d, %d running, %d waiting", name, c.served, c.running, len(c.waiting))
		}
	case "wait":
		var all []*Request
		for _, c := range s.p.queue.clients {
			all = append(all, c.waiting...)
		}
		slices.SortFunc(all, func(a, b *Request) int { return int(a.arrival) - int(b.arrival) })
		for _, r := range all {
			s.say("%s: %d tokens", r.User, len(r.tokens))
		}
	default:
		return fmt.Errorf("unknown command")
	}
	return nil
}

func (s *script) config(args []string) (err error) {
	c := Config{Slots: 4, NumPages: 32, PageSize: 4, MaxSeqLen: 64, StepTokens: 16, EOS: []int32{7}, Vocab: 1000}
	for _, a := range args {
		key, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "slots":
			c.Slots = n
		case "pages":
			c.NumPages = n
		case "size":
			c.PageSize = n
		case "seq":
			c.MaxSeqLen = n
		case "step":
			c.StepTokens = n
		case "age":
			c.AgeSteps = n
		case "target":
			c.TargetITL, c.StepTime = int64(n), testStepTime
		case "window":
			c.Window = n
		case "snapshots":
			c.Snapshots = n
			fallthrough
		case "states":
			c.States = true
		case "drafts":
			c.Drafts, c.StepTime = n, testStepTime
		case "idle":
			c.Idle = func() int64 { return int64(n) }
		case "draws":
			c.Draws = n
		case "overlap":
			c.Overlap = true
		case "cache":
			c.Cache = Cache(value)
		case "schedule":
			c.Schedule = Schedule(value)
		case "policy":
			c.Policy = Policy(value)
		default:
			return fmt.Errorf("unknown setting %q", key)
		}
	}
	s.p, err = New(c)
	if err != nil {
		s.say("%s", strings.ReplaceAll(err.Error(), "\n", "\n    "))
		err = nil
	}
	return err
}

// testStepTime is what steps are predicted to take: 10, 3 for a row that decodes and 2
// for a token of a prompt, and 1 for 8 tokens that it looks at.
func testStepTime(s *batch.Step) int64 {
	t := int64(10 + 3*s.NumDecode + 2*(s.NumTokens-s.NumDecode))
	for i := range s.Rows[s.NumDecode:] {
		r := &s.Rows[s.NumDecode+i]
		t += int64(r.Len()) * int64(r.Start) / 8
	}
	return t
}

func (s *script) add(args []string) error {
	r := &Request{ID: uint64(len(s.named) + 1), User: args[0]}
	var err error
	if r.Prompt, err = s.tokens(args[1]); err != nil {
		return err
	}
	for _, a := range args[2:] {
		key, value, _ := strings.Cut(a, "=")
		n, _ := strconv.Atoi(value)
		switch key {
		case "given":
			if r.Given, err = s.tokens(value); err != nil {
				return err
			}
		case "max":
			r.MaxTokens = n
		case "min":
			r.MinTokens = n
		case "stop":
			r.StopTokens = append(r.StopTokens, int32(n))
		case "of":
			r.Client = value
		case "prio":
			r.Priority = n
		case "ignore":
			r.IgnoreEOS = true
		case "only":
			r.PromptOnly = true
		case "score":
			r.Score = true
		case "draft":
			r.Speculate = true
		case "odd":
			r.Constraint = odd{}
		default:
			return fmt.Errorf("unknown setting %q", key)
		}
	}
	if err := s.p.Add(r); err != nil {
		s.say("%v", err)
	}
	s.named[args[0]] = r
	return nil
}

// tokens reads what stands for some.
func (s *script) tokens(text string) (all []int32, err error) {
	for _, part := range strings.Split(text, ",") {
		lo, hi, span := strings.Cut(part, "-")
		if name, is := strings.CutPrefix(part, "+"); is {
			all = append(all, s.named[name].tokens...)
			continue
		}
		from, err := strconv.Atoi(lo)
		if err != nil {
			return nil, err
		}
		to := from
		if span {
			if to, err = strconv.Atoi(hi); err != nil {
				return nil, err
			}
		}
		for t := from; t <= to; t++ {
			all = append(all, int32(t))
		}
	}
	return all, nil
}

// odd allows odd tokens.
type odd struct{}

func (odd) Allow([]int32) []uint32 {
	set := make([]uint32, 1000/32+1)
	for i := range set {
		set[i] = 0xaaaaaaaa
	}
	return set
}

func (c odd) Ahead(output []int32, n int) [][]uint32 { return ahead(c, output, n) }

func (s *script) step() {
	step := s.p.Next()
	if step == nil {
		s.say("nothing to launch")
		return
	}
	s.say("step %d: %d tokens, %d decodes", step.Seq, step.NumTokens, step.NumDecode)
	f := &s.p.ring[step.Seq%uint64(len(s.p.ring))]
	for _, in := range step.Slots {
		more := ""
		if in.Sampling.SuppressBelow > 0 {
			more = fmt.Sprintf(", %d suppressed below %d", in.Sampling.Suppress, in.Sampling.SuppressBelow)
		}
		for i, r := range f.reqs {
			if step.Rows[i].Slot == in.Slot {
				s.say("slot %d is %s's, %d cached%s", in.Slot, r.User, step.Rows[i].Start, more)
			}
		}
	}
	if len(step.Pages) > 0 {
		var w []string
		for _, e := range step.Pages {
			w = append(w, fmt.Sprintf("%d.%d=%d", e.Slot, e.Index, e.Page))
		}
		s.say("table %s", strings.Join(w, " "))
	}
	for _, c := range step.Restores {
		s.say("slot %d goes on from snapshot %d", c.Slot, c.Snapshot)
	}
	for i, r := range f.reqs {
		row := &step.Rows[i]
		what := "decode"
		if row.Tokens != nil {
			what = "prefill " + span(row.Tokens)
		}
		switch {
		case row.Drafts > 0:
			what = fmt.Sprintf("decode, draft %s", span(row.Tokens[len(row.Tokens)-int(row.Drafts):]))
		case row.Sample && row.Tokens != nil:
			what += ", draw"
		}
		if row.Score != nil {
			what += ", score " + span(row.Score)
		}
		if row.Allow != nil {
			what += ", restricted"
		}
		if row.Late {
			what += ", its mask late"
		}
		s.say("%s at %d: %s", r.User, row.Start, what)
	}
	for _, c := range step.Saves {
		s.say("slot %d is saved in snapshot %d", c.Slot, c.Snapshot)
	}
}

func (s *script) masks() {
	m := s.p.Masks()
	if m == nil {
		s.say("none now")
		return
	}
	f := &s.p.ring[m.Seq%uint64(len(s.p.ring))]
	late := m.Allow
	for i, r := range f.reqs {
		if !f.step.Rows[i].Late {
			continue
		}
		what := "what its output allows"
		if late[0] == nil {
			what = "anything"
		}
		s.say("step %d: %s may draw %s", m.Seq, r.User, what)
		late = late[1:]
	}
}

// span writes tokens as 1-4,9.
func span(tokens []int32) string {
	var parts []string
	for i := 0; i < len(tokens); {
		j := i
		for j+1 < len(tokens) && tokens[j+1] == tokens[j]+1 {
			j++
		}
		part := strconv.Itoa(int(tokens[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(tokens[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

func (s *script) commit(args []string) error {
	seq := s.p.step - uint64(s.p.out) + 1
	if s.p.out == 0 {
		return fmt.Errorf("nothing is outstanding")
	}
	f := &s.p.ring[seq%uint64(len(s.p.ring))]
	res := &batch.Result{Seq: seq}
	for i, r := range f.reqs {
		row := &f.step.Rows[i]
		res.Scores = append(res.Scores, make([]batch.Logprob, len(row.Score))...)
		drawn := []int32{100 + int32(len(r.Output()))}
		for _, a := range args {
			switch name, value, _ := strings.Cut(a, "="); {
			case name != r.User:
			case value == "-1":
				drawn[0] = batch.NoToken
			default:
				var err error
				if drawn, err = s.tokens(value); err != nil {
					return err
				}
			}
		}
		for i := range row.Draws() {
			if !row.Sample || i >= len(drawn) {
				res.Tokens = append(res.Tokens, batch.NoToken)
			} else {
				res.Tokens = append(res.Tokens, drawn[i])
			}
		}
	}
	outputs := s.p.Commit(res)
	if len(outputs) == 0 {
		s.say("step %d: no output", seq)
	}
	for _, o := range outputs {
		line := fmt.Sprintf("step %d: %s %d", seq, o.Req.User, o.Token)
		if len(o.Scores) > 0 {
			line += fmt.Sprintf(", %d scores", len(o.Scores))
		}
		if o.Rejected > 0 {
			line += fmt.Sprintf(", %d rejected", o.Rejected)
		}
		s.say("%s", strings.TrimSpace(fmt.Sprintf("%s %v", line, o.Finish)))
	}
	return nil
}

// pages prints seats, then the tree with each path on a line.
func (s *script) pages() {
	for i := range s.p.seats {
		if r := s.p.seats[i].req; r != nil {
			t := s.p.seats[i].table[:r.pages]
			own := t[max(r.treed, r.gone):] // but for those that were given back
			s.say("slot %d: %s, computed %d, pages %d shared, %d own", i, r.User, r.computed, t[:r.treed], own)
		}
	}
	all := s.p.pages.all
	for i := range all {
		if all[i].parent == notNode || all[i].kids > 0 {
			continue
		}
		var path []string
		for id := int32(i); id != root; id = all[id].parent {
			state := ""
			if all[id].filled == unfilled {
				state = " coming"
			}
			if all[id].refs == 1 {
				state += " idle"
			}
			if states := &s.p.pages.states; states.kept() && states.of[id] != none {
				state += strings.Replace(fmt.Sprintf(" *%d", states.of[id]), "*-2", "promised", 1)
			}
			path = append(path, fmt.Sprintf("%d(%s)%s", id, span(s.p.pages.nodeTokens(id)), state))
		}
		slices.Reverse(path)
		s.say("tree %s", strings.Join(path, " / "))
	}
	s.say("free %d", len(s.p.pages.free))
}
