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
// format's JSON. There is a track for each actor, for the device's stream and why it stood still, and
// for each request, with its phases and in them the events that were written to its client; and
// counters of requests, rows and KV pages. Arrows run from where a message
// was posted to where it was handled, from a launch to what it computed and
// back, from a request's first step and its first token's to its phases, and from text to the socket.
// env says what it is of; nil: nobody knows.
//
// Perfetto wants the slices of a track to nest, and each end of an arrow within
// a slice; perfetto_test.go has its rules.
func WritePerfetto(w io.Writer, rec *actors.Recording, env *Environment) error {
	spans := slices.Clone(rec.Spans)
	byTime(spans)
	oneAfterTheOther(spans)
	p := &perfetto{rec: rec, w: bufio.NewWriter(w), tracks: map[trackID][]slice{}}
	p.collect(spans)
	p.deliveries(spans)
	p.idling(spans)
	p.about(spans, env)
	for _, list := range p.tracks {
		nest(list)
	}
	p.text("{\"traceEvents\":[\n")
	p.names()
	for _, id := range p.ids() {
		p.slices(id)
	}
	p.arrows(spans)
	p.counters(spans)
	p.text("\n]}\n")
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

// slice is a stretch of time on a track: what a span was, whose times it may
// differ from, or something else by a name of its own.
type slice struct {
	began, ended int64
	span         *actors.Span
	label        string // in place of the span's name
	args         string // of one without a span: JSON without the braces
}

// appendArgs appends its details: JSON without the braces.
func (s *slice) appendArgs(b []byte) []byte {
	switch of := s.span; {
	case of == nil:
		return append(b, s.args...)
	case of.Kind == actors.SpanSocket:
		b = appendField(b, `"tokens":`, int64(of.N))
		return appendMicros(append(b, `,"waited_us":`...), of.Began-of.Posted)
	case of.Kind.Handles():
		b = appendField(b, `"id":`, int64(of.ID))
		return appendMicros(append(b, `,"mailbox_us":`...), of.Began-of.Posted)
	case of.Kind == actors.SpanEngine, of.Kind == actors.SpanEngineLost:
		return appendMicros(append(b, `"clock_error_us":`...), int64(of.N))
	case of.Kind == actors.SpanCompute:
		b = appendField(appendField(b, `"step":`, int64(of.ID)), `,"n":`, int64(of.N))
		return appendField(appendField(b, `,"decode_rows":`, int64(of.Decode)), `,"prefill_tokens":`, int64(of.Prefill))
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
		p.add(at, slice{began: s.Began, ended: s.Ended, span: s})
		switch s.Kind {
		case actors.SpanCompute:
			computed[stepNamed(s)] = s.Ended
		case actors.HandleDone: // from the step's end until somebody knew of it
			waiter := place(actors.TrackWaiter, s.Engine, 0)
			ended, ok := computed[stepNamed(s)]
			if ended = max(ended, woke[s.Engine]); !ok || ended >= s.Posted {
				ended = s.Posted - 1
			}
			p.add(waiter, slice{began: ended, ended: s.Posted, label: "wake", args: `"step":` + strconv.FormatUint(s.ID, 10)})
			woke[s.Engine] = s.Posted
		}
	}
}

func (p *perfetto) add(at trackID, s slice) { p.tracks[at] = append(p.tracks[at], s) }

// deliveries ends requests' tracks with what was written to their clients after all had been computed.
func (p *perfetto) deliveries(spans []actors.Span) {
	ended := map[uint64]int64{}
	for i := range spans {
		if s := &spans[i]; s.On == actors.TrackRequests {
			ended[s.ID] = max(ended[s.ID], s.Ended)
		}
	}
	last := map[uint64]*actors.Span{}
	for i := range spans {
		s := &spans[i]
		if end, ok := ended[s.ID]; ok && s.Kind == actors.SpanSocket && s.Ended > end && (last[s.ID] == nil || s.Ended > last[s.ID].Ended) {
			last[s.ID] = s
		}
	}
	for id, s := range last {
		p.add(place(actors.TrackRequests, 0, id), slice{began: ended[id], ended: s.Ended, label: "delivery", args: `"tokens":` + strconv.Itoa(int(s.N))})
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
	prepared := map[uint8][]int64{} // when each engine's steps had been, in order
	ending := map[stepOf]bool{}     // by when, in place of the number
	for i := range spans {
		switch s := &spans[i]; s.Kind {
		case actors.SpanPrepare:
			prepared[s.Engine] = append(prepared[s.Engine], s.Ended)
		case actors.SpanLaunch:
			launched[stepNamed(s)] = s.Began
		case actors.SpanCompute:
			computed[stepNamed(s)] = s.Ended
			ending[stepOf{s.Engine, uint64(s.Ended)}] = true
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
		case s.Kind == actors.SpanPrefill: // from the step that it is in for the first time
			steps := prepared[s.Engine]
			if k, found := slices.BinarySearch(steps, s.Began); found || k > 0 {
				if !found {
					k--
				}
				p.arrow("first step", place(actors.TrackScheduler, s.Engine, 0), steps[k]-1, at, s.Began)
			}
		case s.Kind == actors.SpanDecode && ending[stepOf{s.Engine, uint64(s.Began)}]:
			p.arrow("first token", device, s.Began-1, at, s.Began)
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
