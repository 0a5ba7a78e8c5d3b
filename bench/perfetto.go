package bench

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
)

// WritePerfetto writes what was recorded as a trace for ui.perfetto.dev: the trace event
// format's JSON. There is a track for each actor, for the device's stream, for
// each request and for its way to the client. Arrows run from where a message
// was posted to where it was handled, from a launch to what it computed and
// back, and from text to the socket.
//
// Perfetto wants the slices of a track to nest, and each end of an arrow within
// a slice; perfetto_test.go has its rules.
func WritePerfetto(w io.Writer, rec *actors.Recording) error {
	spans := slices.Clone(rec.Spans)
	byTime(spans)
	oneAfterTheOther(spans)
	p := &perfetto{rec: rec, w: bufio.NewWriter(w), tracks: map[trackID][]slice{}}
	p.collect(spans)
	p.text("{\"traceEvents\":[\n")
	p.names()
	for _, id := range p.ids() {
		p.slices(id)
	}
	p.arrows(spans)
	p.text("\n]}\n")
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

// trackID is a track: what the format calls a process and a thread.
type trackID struct {
	pid int
	tid uint64
}

// The processes, in the order they are shown.
const (
	pidActors = 1 + iota
	pidDevice
	pidRequests
	pidSockets
)

// Threads' numbers are apart, also those of different processes.
const (
	tidActors   = 10
	tidDevice   = 1000
	tidMasks    = 1001
	tidRanks    = 1002
	tidEngine   = 4096 // from one engine's to the next one's
	tidRequests = 1 << 20
	tidSockets  = 1 << 30
)

// slice is a stretch of time on a track. It is of a span, whose times it may
// differ from; or it is the waiter's, of the message that the span handles.
type slice struct {
	began, ended int64
	span         *actors.Span
	waiter       bool
}

// name is what the slice is called.
func (p *perfetto) name(s *slice) string {
	switch kind := s.span.Kind; {
	case s.waiter:
		return "wake"
	case kind == actors.SpanSocket:
		return "write"
	case kind == actors.SpanEngine, kind == actors.SpanEngineLost:
		at := p.rec.EngineAt(s.span.Engine, s.began)
		if at == "" {
			at = strconv.Itoa(int(s.span.Engine))
		}
		if kind == actors.SpanEngineLost {
			at += ", lost"
		}
		return "engine " + at
	default:
		return kind.String()
	}
}

// appendArgs appends its details: JSON without the braces.
func (s *slice) appendArgs(b []byte) []byte {
	switch of := s.span; {
	case s.waiter:
		return appendField(b, `"step":`, int64(of.ID))
	case of.Kind == actors.SpanSocket:
		b = appendField(b, `"tokens":`, int64(of.N))
		return appendMicros(append(b, `,"waited_us":`...), of.Began-of.Posted)
	case of.Kind.Handles():
		b = appendField(b, `"id":`, int64(of.ID))
		return appendMicros(append(b, `,"mailbox_us":`...), of.Began-of.Posted)
	case of.Kind == actors.SpanEngine, of.Kind == actors.SpanEngineLost:
		return appendMicros(append(b, `"clock_error_us":`...), int64(of.N))
	case of.On == actors.TrackRequests:
		return appendField(appendField(b, `"tokens":`, int64(of.N)), `,"engine":`, int64(of.Engine))
	default:
		return appendField(appendField(b, `"step":`, int64(of.ID)), `,"n":`, int64(of.N))
	}
}

type perfetto struct {
	rec    *actors.Recording
	w      *bufio.Writer
	err    error
	comma  bool
	flow   int
	tracks map[trackID][]slice

	scratch []byte // of the event being written
}

func (p *perfetto) text(s string) {
	if p.err == nil {
		_, p.err = p.w.WriteString(s)
	}
}

// event writes one event; its fields are JSON without the braces.
func (p *perfetto) event(format string, args ...any) {
	if p.comma {
		p.text(",\n")
	}
	p.comma = true
	p.text("{" + fmt.Sprintf(format, args...) + "}")
}

// appendMicros appends nanoseconds as the format's microseconds.
func appendMicros(b []byte, ns int64) []byte {
	if ns < 0 {
		b, ns = append(b, '-'), -ns
	}
	b = strconv.AppendInt(b, ns/1000, 10)
	return append(b, '.', byte('0'+ns/100%10), byte('0'+ns/10%10), byte('0'+ns%10))
}

// appendField appends a name, which has its quotes and what goes before, and a
// number.
func appendField(b []byte, name string, n int64) []byte {
	return strconv.AppendInt(append(b, name...), n, 10)
}

// TrackName is what a track is called in traces and tables.
func TrackName(t actors.Track) string {
	switch t {
	case actors.TrackAPI:
		return "api"
	case actors.TrackScheduler:
		return "scheduler"
	case actors.TrackExecutor:
		return "executor"
	case actors.TrackDevice:
		return "device"
	case actors.TrackWaiter:
		return "waiter"
	case actors.TrackDetokenizer:
		return "detokenizer"
	case actors.TrackSocket:
		return "socket"
	case actors.TrackRequests:
		return "requests"
	}
	switch {
	case t == actors.TrackGrammars:
		return "grammars"
	case t < actors.TrackCompiler:
		return fmt.Sprintf("rank %d", t-actors.TrackRank)
	case t < actors.TrackTokenizer:
		return fmt.Sprintf("compiler %d", t-actors.TrackCompiler)
	}
	return fmt.Sprintf("tokenizer %d", t-actors.TrackTokenizer)
}

// place is the track that something done on t, by or for a request, is on.
func place(t actors.Track, engine uint8, request uint64) trackID {
	switch t {
	case actors.TrackAPI, actors.TrackRequests: // who submits is seen on the request
		return trackID{pidRequests, tidRequests + request}
	case actors.TrackDevice:
		return trackID{pidDevice, tidDevice + tidEngine*uint64(engine)}
	case actors.TrackSocket:
		return trackID{pidSockets, tidSockets + request}
	}
	id := trackID{pidActors, tidActors + uint64(t)}
	if t >= actors.TrackRank && t < actors.TrackCompiler {
		id = trackID{pidDevice, tidRanks + uint64(t-actors.TrackRank)}
	}
	if ofEngine(t) {
		id.tid += tidEngine * uint64(engine)
	}
	return id
}

// ofEngine reports whether each engine has such a track.
func ofEngine(t actors.Track) bool {
	switch t {
	case actors.TrackScheduler, actors.TrackExecutor, actors.TrackDevice, actors.TrackWaiter, actors.TrackGrammars:
		return true
	}
	return t >= actors.TrackRank && t < actors.TrackTokenizer
}

// stepOf names a step among those of all engines.
type stepOf struct {
	engine uint8
	seq    uint64
}

func stepNamed(s *actors.Span) stepOf { return stepOf{s.Engine, s.ID} }

// collect sorts spans onto tracks.
func (p *perfetto) collect(spans []actors.Span) {
	computed, woke := map[stepOf]int64{}, map[uint8]int64{}
	for i := range spans {
		s := &spans[i]
		at := place(s.On, s.Engine, s.ID)
		if s.Kind == actors.SpanMasks { // apart, or the arrow that leaves the step would leave this
			at.tid += tidMasks - tidDevice
		}
		p.tracks[at] = append(p.tracks[at], slice{began: s.Began, ended: s.Ended, span: s})
		switch s.Kind {
		case actors.SpanCompute:
			computed[stepNamed(s)] = s.Ended
		case actors.HandleDone: // from the step's end until somebody knew of it
			waiter := place(actors.TrackWaiter, s.Engine, 0)
			ended, ok := computed[stepNamed(s)]
			if ended = max(ended, woke[s.Engine]); !ok || ended >= s.Posted {
				ended = s.Posted - 1
			}
			p.tracks[waiter] = append(p.tracks[waiter], slice{began: ended, ended: s.Posted, span: s, waiter: true})
			woke[s.Engine] = s.Posted
		}
	}
	for _, list := range p.tracks {
		nest(list)
	}
}

// oneAfterTheOther keeps a step on the device from beginning before the last
// one's end, as it may by the resolution of the device's clock.
func oneAfterTheOther(spans []actors.Span) {
	ended := map[uint8]int64{} // by engine
	for i := range spans {
		if s := &spans[i]; s.Kind == actors.SpanCompute {
			if last, ok := ended[s.Engine]; ok {
				s.Began = max(s.Began, last)
			}
			s.Ended = max(s.Ended, s.Began)
			ended[s.Engine] = s.Ended
		}
	}
}

// nest orders a track's slices as they begin, outer ones first, and cuts those
// that end after one they began in: by what passes between two readings of the
// clock.
func nest(list []slice) {
	slices.SortStableFunc(list, func(a, b slice) int {
		return cmp.Or(cmp.Compare(a.began, b.began), cmp.Compare(b.ended, a.ended))
	})
	var open []int64 // ends of the slices around
	for i := range list {
		s := &list[i]
		for len(open) > 0 && open[len(open)-1] <= s.began {
			open = open[:len(open)-1]
		}
		if n := len(open); n > 0 {
			s.ended = min(s.ended, open[n-1])
		}
		open = append(open, s.ended)
	}
}

// within reports whether a slice of the track holds the time.
func (p *perfetto) within(id trackID, at int64) bool {
	list := p.tracks[id]
	// Slices that hold a time are not far before the last that begins by it:
	// handlers nest no deeper than a few.
	i := sort.Search(len(list), func(i int) bool { return list[i].began > at })
	for k := i - 1; k >= 0 && k >= i-16; k-- {
		if list[k].ended >= at {
			return true
		}
	}
	return false
}

func (p *perfetto) ids() []trackID {
	var out []trackID
	for id := range p.tracks {
		out = append(out, id)
	}
	slices.SortFunc(out, func(a, b trackID) int { return cmp.Or(cmp.Compare(a.pid, b.pid), cmp.Compare(a.tid, b.tid)) })
	return out
}

// names gives processes and tracks their names and an order: the way a request
// takes.
func (p *perfetto) names() {
	for i, name := range []string{"actors", "device", "requests", "to clients"} {
		p.event(`"ph":"M","pid":%d,"name":"process_name","args":{"name":%q}`, i+1, name)
		p.event(`"ph":"M","pid":%d,"name":"process_sort_index","args":{"sort_index":%d}`, i+1, i)
	}
	for _, id := range p.ids() {
		name, at := "", id.tid
		switch id.pid {
		case pidActors:
			engine, t := id.tid/tidEngine, actors.Track(id.tid%tidEngine-tidActors)
			if name = TrackName(t); engine > 0 {
				name = fmt.Sprintf("engine %d: %s", engine, name)
			}
			if t < actors.TrackTokenizer { // numbered before tokenizers, though behind them on the way
				at += 1000
			}
		case pidDevice:
			name = "compute stream"
			switch of := id.tid % tidEngine; {
			case of == tidMasks:
				name = "standing still"
			case of >= tidRanks:
				name = TrackName(actors.TrackRank + actors.Track(of-tidRanks))
			}
			if engine := id.tid / tidEngine; engine > 0 {
				name = fmt.Sprintf("engine %d: %s", engine, name)
			}
		case pidRequests:
			name, at = fmt.Sprintf("request %d", id.tid-tidRequests), id.tid-tidRequests
		case pidSockets:
			name, at = fmt.Sprintf("request %d's client", id.tid-tidSockets), id.tid-tidSockets
		}
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_name","args":{"name":%q}`, id.pid, id.tid, name)
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}`, id.pid, id.tid, at)
	}
}

// slices writes a track.
func (p *perfetto) slices(id trackID) {
	for i := range p.tracks[id] {
		s := &p.tracks[id][i]
		b := p.open(`"ph":"X"`, id, p.name(s), s.began)
		b = appendMicros(append(b, `,"dur":`...), s.ended-s.began)
		b = s.appendArgs(append(b, `,"args":{`...))
		p.line(append(b, "}}"...))
	}
}

// open begins an event on a track in p's scratch memory; line is to follow.
func (p *perfetto) open(kind string, id trackID, name string, at int64) []byte {
	b := p.scratch[:0]
	if p.comma {
		b = append(b, ",\n"...)
	}
	p.comma = true
	b = append(append(b, '{'), kind...)
	b = appendField(b, `,"pid":`, int64(id.pid))
	b = appendField(b, `,"tid":`, int64(id.tid))
	b = append(append(append(b, `,"name":"`...), name...), `","ts":`...)
	return appendMicros(b, at)
}

// line writes a whole event.
func (p *perfetto) line(b []byte) {
	if p.err == nil {
		_, p.err = p.w.Write(b)
	}
	p.scratch = b
}

// arrows writes a flow for each message, for each step to the device and back,
// and for text on its way to a client.
func (p *perfetto) arrows(spans []actors.Span) {
	launched, computed := map[stepOf]int64{}, map[stepOf]int64{}
	for i := range spans {
		switch s := &spans[i]; s.Kind {
		case actors.SpanLaunch:
			launched[stepNamed(s)] = s.Began
		case actors.SpanCompute:
			computed[stepNamed(s)] = s.Ended
		}
	}
	for i := range spans {
		s := &spans[i]
		at := place(s.On, s.Engine, s.ID)
		device, waiter := place(actors.TrackDevice, s.Engine, 0), place(actors.TrackWaiter, s.Engine, 0)
		switch {
		case s.Kind == actors.SpanCompute:
			p.arrow("launch", place(actors.TrackExecutor, s.Engine, 0), launched[stepNamed(s)], at, s.Began)
		case s.Kind == actors.HandleDone:
			p.arrow("result", device, computed[stepNamed(s)]-1, waiter, s.Posted-1)
			p.arrow("message", waiter, s.Posted-1, at, s.Began)
		case s.Kind == actors.SpanSocket:
			p.arrow("text", place(actors.TrackDetokenizer, 0, 0), s.Posted, at, s.Began)
		case s.Kind.Handles() && s.Kind != actors.HandleCancel: // cancels come from anywhere
			p.arrow("message", place(s.From, s.Engine, s.ID), s.Posted, at, s.Began)
		}
	}
}

// arrow writes a flow, if there is something at both of its ends: the span at
// one may have been forgotten.
func (p *perfetto) arrow(name string, from trackID, at int64, to trackID, then int64) {
	if !p.within(from, at) || !p.within(to, then) {
		return
	}
	p.flow++
	p.line(append(appendField(p.open(`"ph":"s","cat":"flow"`, from, name, at), `,"id":`, int64(p.flow)), '}'))
	p.line(append(appendField(p.open(`"ph":"f","bp":"e","cat":"flow"`, to, name, then), `,"id":`, int64(p.flow)), '}'))
}

// byTime sorts spans by when they began.
func byTime(spans []actors.Span) {
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].Began < spans[j].Began })
}
