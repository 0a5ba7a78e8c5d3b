package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sort"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/troupe-llm/troupe/actors"
	"github.com/troupe-llm/troupe/actors/trace"
)

// processor reads a trace by the rules of Perfetto's trace processor for the
// JSON format, as its source has them (src/trace_processor/importers: json,
// common/slice_tracker, common/flow_tracker; August 2026), and counts what that
// would complain about, by the names it does.
type processor struct {
	complaints map[string]int
	threads    map[trackID]string
	processes  map[int]string
	slices     []*tableSlice
	flows      []flow
	counters   map[string][]int64 // the times of each one's values
	values     map[string]float64 // and the last value
	stacks     map[trackID][]*tableSlice
	started    map[int]*tableSlice // flows by id
}

// tableSlice and flow are rows of its tables; times are nanoseconds.
type tableSlice struct {
	track     trackID
	name      string
	from, end int64
	args      map[string]float64
	texts     map[string]string
	depth     int
}

type flow struct{ out, in *tableSlice }

type traceEvent struct {
	Ph, Name, Cat, Bp string
	Pid               *int
	Tid               *uint64
	ID                *int
	Ts, Dur           *json.Number
	Args              map[string]any
}

func process(t *testing.T, data []byte) *processor {
	t.Helper()
	p := &processor{
		complaints: map[string]int{}, threads: map[trackID]string{}, processes: map[int]string{},
		stacks: map[trackID][]*tableSlice{}, started: map[int]*tableSlice{}, counters: map[string][]int64{}, values: map[string]float64{},
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for key := range file {
		if key != "traceEvents" {
			p.complaints["key "+key]++ // displayTimeUnit is one that it tells of
		}
	}
	d := json.NewDecoder(bytes.NewReader(file["traceEvents"]))
	d.UseNumber()
	var events []traceEvent
	if err := d.Decode(&events); err != nil {
		t.Fatal(err)
	}
	type timed struct {
		ts int64
		*traceEvent
	}
	var sorted []timed
	for i := range events {
		e := &events[i]
		switch {
		case e.Ph == "":
			p.complaints["json_tokenizer_failure"]++
		case e.Ph == "M":
			p.name(e)
		case e.Ts == nil || e.Pid == nil || e.Tid == nil || *e.Tid == 0 || *e.Tid >= 1<<32:
			p.complaints["json_tokenizer_failure"]++
		default:
			sorted = append(sorted, timed{nanos(t, *e.Ts), e})
		}
	}
	// Its sorter keeps the file's order among equal times.
	sort.SliceStable(sorted, func(i, j int) bool { return sorted[i].ts < sorted[j].ts })
	for _, e := range sorted {
		p.parse(t, e.ts, e.traceEvent)
	}
	return p
}

// nanos reads microseconds with at most three decimals.
func nanos(t *testing.T, n json.Number) int64 {
	t.Helper()
	whole, rest, _ := strings.Cut(n.String(), ".")
	v, err := json.Number(whole + (rest + "000")[:3]).Int64()
	if err != nil || len(rest) > 3 {
		t.Fatalf("time %s: %v", n, err)
	}
	return v
}

func (p *processor) name(e *traceEvent) {
	switch name, _ := e.Args["name"].(string); e.Name {
	case "thread_name":
		p.threads[trackID{*e.Pid, *e.Tid}] = name
	case "process_name":
		p.processes[*e.Pid] = name
	}
}

func (p *processor) parse(t *testing.T, ts int64, e *traceEvent) {
	t.Helper()
	track := trackID{*e.Pid, *e.Tid}
	top := func() *tableSlice {
		if s := p.stacks[track]; len(s) > 0 {
			return s[len(s)-1] // it may have ended: only the next slice takes it off
		}
		p.complaints["flow_no_enclosing_slice"]++
		return nil
	}
	switch e.Ph {
	case "X":
		if e.Dur == nil {
			p.complaints["json_parser_failure"]++
			return
		}
		s := &tableSlice{track: track, name: e.Name, from: ts, end: ts + nanos(t, *e.Dur), args: map[string]float64{}, texts: map[string]string{}}
		for k, v := range e.Args {
			switch v := v.(type) {
			case json.Number:
				s.args[k], _ = v.Float64()
			case string:
				s.texts[k] = v
			}
		}
		p.begin(s)
	case "s":
		if out := top(); out != nil {
			if e.ID == nil || p.started[*e.ID] != nil {
				p.complaints["flow_duplicate_id"]++
				return
			}
			p.started[*e.ID] = out
		}
	case "f":
		if e.Bp != "e" {
			p.complaints["flow without an enclosing slice"]++
		}
		if in := top(); in != nil {
			if e.ID == nil || p.started[*e.ID] == nil {
				p.complaints["flow_end_without_start"]++
				return
			}
			p.flows = append(p.flows, flow{p.started[*e.ID], in})
		}
	case "C":
		if len(e.Args) == 0 {
			p.complaints["json_parser_failure"]++
		}
		for k, v := range e.Args {
			n, ok := v.(json.Number)
			if !ok {
				p.complaints["json_parser_failure"]++
				continue
			}
			name := e.Name + " " + k
			p.counters[name] = append(p.counters[name], ts)
			p.values[name], _ = n.Float64()
		}
	default:
		p.complaints["phase "+e.Ph]++
	}
}

// begin puts a slice on its track's stack.
func (p *processor) begin(s *tableSlice) {
	if s.end < s.from {
		p.complaints["slice_negative_duration"]++
		return
	}
	stack := p.stacks[s.track]
	for i := len(stack) - 1; i >= 0; i-- {
		switch o := stack[i]; {
		case o.end < s.from || o.end == s.from && !(o.end == o.from && s.end == s.from):
			stack = stack[:i]
		case s.from < o.end && s.end > o.end:
			p.complaints["slice_spill_overlapping_complete_event"]++
			return
		}
	}
	s.depth = len(stack)
	p.stacks[s.track] = append(stack, s)
	p.slices = append(p.slices, s)
}

// of are the slices of this name, "": of any, on the track of that name, by step.
func (p *processor) of(thread, name string) map[int]*tableSlice {
	out := map[int]*tableSlice{}
	for _, s := range p.slices {
		if (s.name == name || name == "") && p.threads[s.track] == thread {
			out[int(s.args["step"])] = s
		}
	}
	return out
}

// requests are the outermost slices on each request's track that are no write, one after the other.
func (p *processor) requests() map[string][]string {
	out := map[string][]string{}
	for _, s := range p.slices {
		if name := p.threads[s.track]; s.depth == 0 && s.name != "write" && p.processes[s.track.pid] == "requests" && !strings.Contains(s.name, "Job") && s.name != "prepared" {
			out[name] = append(out[name], s.name)
		}
	}
	return out
}

func written(t *testing.T, spans []actors.Span) *processor {
	t.Helper()
	return recorded(t, &actors.Recording{Spans: spans})
}

func recorded(t *testing.T, rec *actors.Recording) *processor {
	t.Helper()
	var b bytes.Buffer
	if err := WritePerfetto(&b, rec, nil); err != nil {
		t.Fatal(err)
	}
	p := process(t, b.Bytes())
	if len(p.complaints) > 0 {
		t.Errorf("the trace processor would complain: %v", p.complaints)
	}
	for _, s := range p.slices {
		if p.threads[s.track] == "" || p.processes[s.track.pid] == "" {
			t.Fatalf("track %v has no name", s.track)
		}
	}
	return p
}

func TestPerfettoHasTracksAndArrows(t *testing.T) {
	p := written(t, twoSteps())
	want := map[string][]string{
		"scheduler":      {"generate", "prepare", "prepare", "stepDone", "commit", "stepDone", "commit"},
		"executor":       {"runStep", "launch", "runStep", "launch"},
		"compute stream": {"prefill 1 x 5", "decode 1"},
		"idle":           {"executor's mailbox", "launch", "device"},
		"standing still": {"wait for masks"},
		"waiter":         {"wake", "wake"},
		"detokenizer":    {"news", "tokens"},
		"request 7":      {"tokenize", "queue", "prefill", "decode", "delivery", "write"},
	}
	got := map[string][]string{}
	for _, s := range p.slices {
		got[p.threads[s.track]] = append(got[p.threads[s.track]], s.name)
	}
	for name, slices_ := range want {
		if !slices.Equal(got[name], slices_) {
			t.Errorf("%s: %v, want %v", name, got[name], slices_)
		}
	}
	if len(got) != len(want) {
		t.Errorf("tracks %v", slices.Sorted(maps.Keys(got)))
	}
	arrows := map[string]int{}
	for _, f := range p.flows {
		arrows[f.out.name+" → "+f.in.name]++
		if f.in.from < f.out.from {
			t.Errorf("an arrow from %s goes back in time to %s", f.out.name, f.in.name)
		}
	}
	for arrow, n := range map[string]int{
		"tokenize → generate": 1, "launch → prefill 1 x 5": 1, "launch → decode 1": 1, "prefill 1 x 5 → wake": 1, "decode 1 → wake": 1, "wake → stepDone": 2,
		"tokens → write": 1, "commit → tokens": 1, "prepare → prefill": 1, "prefill 1 x 5 → decode": 1,
	} {
		if arrows[arrow] != n {
			t.Errorf("%d arrows %s, want %d; there are %v", arrows[arrow], arrow, n, arrows)
		}
	}
}

// Steps are named by what they hold, and what was done to warm up is marked.
func TestPerfettoNamesSteps(t *testing.T) {
	at := int64(0)
	compute := func(rows int32, decode uint16, prefill int32, even bool) actors.Span {
		at += 100
		return actors.Span{Kind: actors.SpanCompute, On: actors.TrackDevice, ID: uint64(at / 100), Began: at, Ended: at + 50, N: rows, Decode: decode, Prefill: prefill, Even: even}
	}
	p := recorded(t, &actors.Recording{Warmed: 150, Spans: []actors.Span{
		compute(1, 0, 7, true), compute(64, 64, 0, true), compute(32, 30, 1024, true), compute(3, 0, 1000, false), compute(4, 1, 6, false),
		{Kind: actors.SpanPrefill, On: actors.TrackRequests, ID: 3, Began: 100, Ended: 160},
	}})
	var got []string
	for _, s := range p.slices {
		got = append(got, s.name)
	}
	want := []string{"warm-up: prefill 1 x 7", "warm-up: prefill", "decode 64", "prefill 2 x 512 + decode 30", "prefill 3 rows, 1000 tokens", "prefill 3 rows, 6 tokens + decode 1"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if p.values["device idle"] != 0 || len(p.counters["device idle"]) != 8 || p.values["step prefill tokens"] != 6 {
		t.Errorf("counters %v", p.values)
	}
	p = recorded(t, &actors.Recording{Spans: []actors.Span{
		{Kind: actors.SpanCompute, On: actors.TrackDevice, ID: 1, Began: 100, Ended: 150, N: 1, Decode: 1, Drafts: 8, Accepted: 5},
		{Kind: actors.SpanCompute, On: actors.TrackDevice, ID: 2, Began: 200, Ended: 250, N: 1, Decode: 1, Drafts: 4, Accepted: 1},
		compute(1, 1, 0, true), compute(1, 1, 0, true),
	}})
	if len(p.counters["draft tokens accepted"]) != 3 || p.values["draft tokens rejected"] != 0 {
		t.Errorf("of drafts: counters %v, %v", p.counters, p.values)
	}
}

// What a trace is of stands at its top, whatever the model is called; engines have counters of their own.
func TestPerfettoSaysWhatItIsOf(t *testing.T) {
	var b bytes.Buffer
	rec := &actors.Recording{Forgotten: 3, Spans: twoSteps(), Samples: []actors.Sample{
		{At: 1, Running: 4, Waiting: 2, PagesUsed: 5, PagesFree: 9}, {At: 7, Engine: 1, Running: 1}, {At: 9, Running: 3},
	}}
	if err := WritePerfetto(&b, rec, &Environment{Model: `a "model"\`, Device: "sim:h200", Hardware: "none", Version: "v1", DType: "bfloat16", Slots: 8}); err != nil {
		t.Fatal(err)
	}
	p := process(t, b.Bytes())
	var about *tableSlice
	for _, s := range p.slices {
		if p.threads[s.track] == "this trace" {
			about = s
		}
	}
	if len(p.complaints) > 0 || about == nil || about.name != `a "model"\ on sim:h200` || about.texts["version"] != "v1" || about.texts["weights"] != "bfloat16" || about.args["slots"] != 8 || about.args["spans_forgotten"] != 3 {
		t.Errorf("%v, %+v", p.complaints, about)
	}
	for name, want := range map[string]float64{"requests running": 3, "KV pages free": 0, "engine 1: requests running": 1} {
		if got, ok := p.values[name]; !ok || got != want {
			t.Errorf("%s ends at %v, want %v; counters %v", name, got, want, p.values)
		}
	}
}

// Devices that share a model have a track each: a step, in it what went into adding
// up, and in that what was waiting.
func TestPerfettoShowsRanks(t *testing.T) {
	trace := actors.NewTrace(1 << 12)
	system, err := actors.Open(actors.Config{Model: "builtin", Device: "cpu", TP: 2, Trace: trace, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	report, err := (&Offline{NumSeqs: 2, Input: Range{8, 8}, Output: Range{4, 4}}).Run(t.Context(), system)
	if err != nil {
		t.Fatal(err)
	}
	if err := system.Close(); err != nil {
		t.Fatal(err)
	}
	if s := report.Steps; report.Environment.Ranks != 2 || s.ReduceS <= 0 || s.WaitS <= 0 || s.WaitS > s.ReduceS || s.ReduceS > s.BusyS {
		t.Errorf("%+v", s)
	}
	spans, _ := trace.Spans()
	p := written(t, spans)
	got := map[string]map[string]int{}
	for _, s := range p.slices {
		name := p.threads[s.track]
		if got[name] == nil {
			got[name] = map[string]int{}
		}
		got[name][s.name]++
	}
	steps := 0
	for _, n := range got["compute stream"] {
		steps += n
	}
	want := map[string]int{"rank": steps, "all-reduce": steps, "wait for ranks": steps}
	for _, rank := range []string{"rank 0", "rank 1"} {
		if steps < 4 || !maps.Equal(got[rank], want) {
			t.Errorf("%s: %v, want %v", rank, got[rank], want)
		}
	}
}

// What engines elsewhere did for a request lies within the time that the front waited for each, which is
// named after where that was then.
func TestPerfettoOfEnginesElsewhere(t *testing.T) {
	on := func(k actors.Kind, engine uint8, began, ended int64, n int32) actors.Span {
		return actors.Span{Kind: k, On: actors.TrackRequests, Engine: engine, ID: 7, Began: began, Ended: ended, N: n}
	}
	p := recorded(t, &actors.Recording{
		Engines: []trace.EngineName{{Engine: 1, Since: 0, Name: "a:1"}, {Engine: 2, Since: 0, Name: "b:2"}, {Engine: 1, Since: 400, Name: "c:3"}},
		Spans: []actors.Span{
			on(actors.SpanTokenize, 0, 100, 120, 0),
			on(actors.SpanQueue, 1, 130, 140, 0), on(actors.SpanPrefill, 1, 140, 150, 0), on(actors.SpanDecode, 1, 150, 160, 2), on(actors.SpanEngineLost, 1, 120, 300, 1500),
			on(actors.SpanQueue, 2, 300, 340, 0), on(actors.SpanEngineLost, 2, 300, 410, 0),
			on(actors.SpanDecode, 1, 415, 430, 5), on(actors.SpanEngine, 1, 410, 440, 25_000),
		},
	})
	var got []string
	for _, s := range p.slices {
		got = append(got, fmt.Sprint(s.depth, " ", s.name))
		if s.name == "engine c:3" && s.args["clock_error_us"] != 25 {
			t.Errorf("%+v", s)
		}
	}
	want := []string{"0 tokenize", "0 engine a:1, lost", "1 queue", "1 prefill", "1 decode", "0 engine b:2, lost", "1 queue", "0 engine c:3", "1 decode"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// Whatever part of a trace is left, what is written of it is sound.
func TestPerfettoOfAnyPart(t *testing.T) {
	spans := twoSteps()
	for i := range spans {
		for k := i + 1; k <= len(spans); k++ {
			written(t, spans[i:k])
		}
	}
	// Events taken while the last ones are written, and read clocks in between.
	at := func(posted, began, ended int64) actors.Span {
		return actors.Span{Kind: actors.SpanSocket, On: actors.TrackSocket, ID: 1, Posted: posted, Began: began, Ended: ended, N: 1}
	}
	device := func(id uint64, began, ended int64) actors.Span {
		return actors.Span{Kind: actors.SpanCompute, On: actors.TrackDevice, ID: id, Began: began, Ended: ended}
	}
	written(t, []actors.Span{at(1, 5, 20), at(6, 8, 21), at(7, 20, 23), device(1, 0, 100), device(2, 99, 150), device(3, 150, 150), device(4, 140, 149)})
}

// simulated runs so many requests at once on a simulated H200 whose steps take
// long, so that a machine that is busy with other things holds up none of them.
func simulated(t *testing.T, trace *actors.Trace, rows, tokens int) *Report {
	t.Helper()
	system, err := actors.Open(actors.Config{Model: "qwen3-14b", DummyWeights: true, Device: "sim:h200,speed=inf,step=25ms", Trace: trace, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	run := Offline{NumSeqs: rows, Input: Range{16, 16}, Output: Range{tokens, tokens}}
	report, err := run.Run(t.Context(), system)
	if err != nil {
		t.Fatal(err)
	}
	if err := system.Close(); err != nil {
		t.Fatal(err)
	}
	return report
}

// Twenty decode steps of 64 requests on a simulated H200: each step is prepared
// and launched while the device computes the one before it, and every token's
// way leads to its client.
func TestPerfettoShowsOverlap(t *testing.T) {
	const rows, steps = 64, 20
	trace := actors.NewTrace(1 << 15)
	simulated(t, trace, rows, 2*steps)
	rec := trace.Recording()
	if rec.Forgotten > 0 {
		t.Fatalf("%d spans were forgotten", rec.Forgotten)
	}
	p := recorded(t, rec)
	prepare, launch, compute := p.of("scheduler", "prepare"), p.of("executor", "launch"), p.of("compute stream", "")
	ahead, decodes := 0, 0
	for step, c := range compute {
		before := compute[step-1]
		if c.args["n"] != rows || before == nil || before.args["n"] != rows {
			continue
		}
		decodes++
		if l := launch[step]; l == nil || l.end > c.end || prepare[step] == nil || prepare[step].end > l.from {
			t.Fatalf("step %d was not prepared, launched and computed in this order", step)
		}
		if prepare[step].from < before.end && launch[step].from < before.end {
			ahead++
		}
	}
	// A machine may stop the scheduler for longer than a step all the same.
	if decodes < steps || ahead < decodes/2 {
		t.Errorf("of %d decode steps %d were prepared while the one before was computed", decodes, ahead)
	}
	for name, phases := range p.requests() {
		if want := []string{"tokenize", "queue", "prefill", "decode"}; len(phases) < 4 || !slices.Equal(phases[:4], want) || len(phases) > 4 && phases[4] != "delivery" {
			t.Errorf("%s went through %q", name, phases)
		}
	}
	for _, name := range []string{"requests running", "requests waiting", "KV pages used", "KV pages free", "step decode rows"} {
		if len(p.counters[name]) == 0 || !slices.IsSorted(p.counters[name]) {
			t.Errorf("counter %s has %d values", name, len(p.counters[name]))
		}
	}
	if got := p.values["requests running"] + p.values["KV pages used"]; got != 0 {
		t.Errorf("at the end %v requests run or pages are used", got)
	}
	writes := map[uint64]float64{}
	for _, s := range p.slices {
		if s.name == "write" {
			writes[s.track.tid] += s.args["tokens"]
		}
	}
	if len(writes) != rows {
		t.Fatalf("%d clients, want %d", len(writes), rows)
	}
	for tid, n := range writes {
		if n != 2*steps {
			t.Errorf("client %d got %v tokens, want %d", tid, n, 2*steps)
		}
	}
	text := 0
	for _, f := range p.flows {
		if f.in.name == "write" && f.out.name == "tokens" {
			text++
		}
	}
	if text < rows {
		t.Errorf("%d arrows lead from text to clients", text)
	}
}

// A trace of a million spans is written within the time and memory that the end
// of a server may take.
func BenchmarkWritePerfetto(b *testing.B) {
	var spans []actors.Span
	for i := range int64(1 << 20) {
		at := i * 1000
		switch i % 8 {
		case 0:
			spans = append(spans, actors.Span{Kind: actors.HandleTokens, On: actors.TrackDetokenizer, From: actors.TrackScheduler, ID: uint64(i / 8), Posted: at - 100, Began: at, Ended: at + 900})
		default:
			spans = append(spans, actors.Span{Kind: actors.SpanSocket, On: actors.TrackSocket, ID: uint64(i % 256), Posted: at - i%8*1000, Began: at, Ended: at + 100, N: 1})
		}
	}
	for b.Loop() {
		if err := WritePerfetto(io.Discard, &actors.Recording{Spans: spans}, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// The rules find what is wrong, or their silence would mean nothing.
func TestProcessorComplains(t *testing.T) {
	x := func(tid, ts, dur string) string {
		return `{"ph":"X","pid":1,"tid":` + tid + `,"name":"a","ts":` + ts + `,"dur":` + dur + `}`
	}
	arrow := func(ph, id, ts string) string {
		return `{"ph":"` + ph + `","bp":"e","pid":1,"tid":5,"id":` + id + `,"name":"m","cat":"c","ts":` + ts + `}`
	}
	for want, events := range map[string][]string{
		"slice_spill_overlapping_complete_event": {x("5", "1", "4"), x("5", "2", "4")},
		"slice_negative_duration":                {x("5", "1", "-1")},
		"flow_no_enclosing_slice":                {x("6", "0", "9"), arrow("s", "1", "3")},
		"flow_duplicate_id":                      {x("5", "0", "9"), arrow("s", "1", "3"), arrow("s", "1", "4")},
		"flow_end_without_start":                 {x("5", "0", "9"), arrow("f", "1", "3")},
		"json_tokenizer_failure":                 {`{"ph":"X","pid":1,"tid":5,"name":"no time"}`},
		"json_parser_failure":                    {`{"ph":"X","pid":1,"tid":5,"ts":1,"name":"no duration"}`},
	} {
		p := process(t, []byte(`{"traceEvents":[`+strings.Join(events, ",")+`]}`))
		if p.complaints[want] == 0 {
			t.Errorf("%s: complains of %v", want, p.complaints)
		}
	}
	fine := process(t, []byte(`{"traceEvents":[`+strings.Join([]string{x("5", "1", "4"), x("5", "1", "2"), x("5", "5", "1"), arrow("s", "1", "1"), arrow("f", "1", "2")}, ",")+`]}`))
	if len(fine.complaints) > 0 || len(fine.flows) != 1 || fine.slices[1].depth != 1 || fine.slices[2].depth != 0 {
		t.Errorf("of a sound trace: %v", fine.complaints)
	}
}

// Engines have tracks of their own, though their steps have the same numbers.
func TestPerfettoOfTwoEngines(t *testing.T) {
	spans := twoSteps()
	one := len(spans)
	arrows := len(written(t, twoSteps()).flows)
	for _, s := range spans[:one] {
		switch s.Kind {
		case actors.SpanPrepare, actors.SpanLaunch, actors.SpanCompute, actors.SpanCommit, actors.SpanMasks, actors.HandleRun, actors.HandleDone:
			s.Engine = 1
			spans = append(spans, s)
		}
	}
	p := written(t, spans)
	got := map[string][]string{}
	for _, s := range p.slices {
		got[p.threads[s.track]] = append(got[p.threads[s.track]], s.name)
	}
	for _, track := range []string{"scheduler", "executor", "compute stream", "standing still", "waiter"} {
		first, second := got[track], got["engine 1: "+track]
		if first = slices.DeleteFunc(slices.Clone(first), func(name string) bool { return name == "generate" }); len(second) == 0 || !slices.Equal(first, second) {
			t.Errorf("%s: %v and %v", track, first, second)
		}
	}
	if len(p.flows) <= arrows {
		t.Errorf("%d arrows, %d of one engine", len(p.flows), arrows)
	}
	if a, b := Summarize(&actors.Recording{Spans: spans}), Summarize(&actors.Recording{Spans: twoSteps()}); a.Steps != b.Steps {
		t.Errorf("%d steps, want those of the first engine: %d", a.Steps, b.Steps)
	}
}
