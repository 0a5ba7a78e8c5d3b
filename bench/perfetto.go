package bench

import (
	"bufio"
	"fmt"
	"io"
	"sort"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
)

// WritePerfetto writes spans as a trace for ui.perfetto.dev or
// chrome://tracing: the trace event format's JSON. One process holds a track
// for each actor and for the device, another one for each request; arrows run
// from where a message was posted to where it was handled.
func WritePerfetto(w io.Writer, spans []actors.Span) error {
	p := &perfetto{w: bufio.NewWriter(w)}
	p.text("{\"displayTimeUnit\":\"ns\",\"traceEvents\":[\n")
	p.names(spans)
	p.slices(spans)
	p.arrows(spans)
	p.text("\n]}\n")
	if p.err == nil {
		p.err = p.w.Flush()
	}
	return p.err
}

// Processes of the trace.
const (
	pidActors   = 1
	pidRequests = 2
)

type perfetto struct {
	w     *bufio.Writer
	err   error
	comma bool
	flow  int
}

func (p *perfetto) text(s string) {
	if p.err == nil {
		_, p.err = p.w.WriteString(s)
	}
}

// event writes one event; fields is JSON without the braces.
func (p *perfetto) event(format string, args ...any) {
	if p.comma {
		p.text(",\n")
	}
	p.comma = true
	p.text("{" + fmt.Sprintf(format, args...) + "}")
}

// micros is nanoseconds as the format's microseconds.
func micros(ns int64) string { return strconv.FormatFloat(float64(ns)/1e3, 'f', 3, 64) }

func (p *perfetto) slice(pid int, tid uint64, name string, began, ended int64, args string) {
	p.event(`"ph":"X","pid":%d,"tid":%d,"name":%q,"ts":%s,"dur":%s,"args":{%s}`, pid, tid, name, micros(began), micros(ended-began), args)
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
	}
	return fmt.Sprintf("tokenizer %d", t-actors.TrackTokenizer)
}

// names gives the tracks their names and an order: the way a request takes.
func (p *perfetto) names(spans []actors.Span) {
	p.event(`"ph":"M","pid":%d,"name":"process_name","args":{"name":"troupe"}`, pidActors)
	p.event(`"ph":"M","pid":%d,"name":"process_name","args":{"name":"requests"}`, pidRequests)
	order := []actors.Track{actors.TrackScheduler, actors.TrackExecutor, actors.TrackDevice, actors.TrackWaiter, actors.TrackDetokenizer}
	tokenizers := map[actors.Track]bool{}
	for i := range spans {
		if t := spans[i].On; t >= actors.TrackTokenizer && !tokenizers[t] {
			tokenizers[t] = true
			order = append(order, t)
		}
	}
	for _, t := range order {
		at := int(t)
		if t >= actors.TrackTokenizer { // first on the way, though numbered last
			at = int(t) - 1000
		}
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_name","args":{"name":%q}`, pidActors, t, TrackName(t))
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}`, pidActors, t, at)
	}
	seen := map[uint64]bool{}
	for i := range spans {
		if id, ok := request(&spans[i]); ok && !seen[id] {
			seen[id] = true
			p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_name","args":{"name":"request %d"}`, pidRequests, id, id)
		}
	}
}

// request is the number of the request a span is about, if it is about one.
func request(s *actors.Span) (uint64, bool) {
	switch s.Kind {
	case actors.SpanSocket, actors.HandleTokenize, actors.HandleGenerate, actors.HandleAdmitted, actors.HandleFailed, actors.HandleStop, actors.HandleCancel:
		return s.ID, true
	}
	return 0, false
}

// slices writes what was done where. Request tracks show the way in as one
// slice, from Submit to admission, then each event on its way to the socket.
func (p *perfetto) slices(spans []actors.Span) {
	submitted := map[uint64]int64{}
	for i := range spans {
		s := &spans[i]
		switch {
		case s.Kind == actors.SpanSocket:
			p.slice(pidRequests, s.ID, "to the socket", s.Posted, s.Ended, fmt.Sprintf(`"tokens":%d,"waited_us":%s`, s.N, micros(s.Began-s.Posted)))
		case s.Kind.Handles():
			if s.From == actors.TrackAPI && (s.Kind == actors.HandleTokenize || s.Kind == actors.HandleGenerate) {
				submitted[s.ID] = s.Posted
			}
			if began, ok := submitted[s.ID]; ok && s.Kind == actors.HandleAdmitted {
				p.slice(pidRequests, s.ID, "way in", began, s.Ended, "")
			}
			p.slice(pidActors, uint64(s.On), s.Kind.String(), s.Began, s.Ended, fmt.Sprintf(`"id":%d,"mailbox_us":%s`, s.ID, micros(s.Began-s.Posted)))
			if s.Kind == actors.HandleDone {
				p.slice(pidActors, uint64(actors.TrackWaiter), "result", s.Posted-1, s.Posted, fmt.Sprintf(`"step":%d`, s.ID))
			}
		default:
			p.slice(pidActors, uint64(s.On), s.Kind.String(), s.Began, s.Ended, fmt.Sprintf(`"step":%d,"n":%d`, s.ID, s.N))
		}
	}
}

// arrows writes a flow for each message, and one from each launch to the
// computation it started.
func (p *perfetto) arrows(spans []actors.Span) {
	launched := map[uint64]int64{}
	for i := range spans {
		s := &spans[i]
		switch {
		case s.Kind == actors.SpanLaunch:
			launched[s.ID] = s.Began
		case s.Kind.Handles() && s.Kind != actors.HandleCancel: // cancels come from anywhere
			pid, tid, at := pidActors, uint64(s.From), s.Posted
			switch s.From {
			case actors.TrackAPI:
				pid, tid = pidRequests, s.ID
			case actors.TrackWaiter:
				at--
			}
			p.arrow(pid, tid, at, uint64(s.On), s.Began)
		}
	}
	for i := range spans {
		if s := &spans[i]; s.Kind == actors.SpanCompute {
			if at, ok := launched[s.ID]; ok {
				p.arrow(pidActors, uint64(actors.TrackExecutor), at, uint64(actors.TrackDevice), s.Began)
			}
		}
	}
}

func (p *perfetto) arrow(fromPid int, from uint64, at int64, to uint64, then int64) {
	p.flow++
	p.event(`"ph":"s","pid":%d,"tid":%d,"id":%d,"cat":"message","name":"message","ts":%s`, fromPid, from, p.flow, micros(at))
	p.event(`"ph":"f","bp":"e","pid":%d,"tid":%d,"id":%d,"cat":"message","name":"message","ts":%s`, pidActors, to, p.flow, micros(then))
}

// byTime sorts spans by when they began.
func byTime(spans []actors.Span) {
	sort.SliceStable(spans, func(i, j int) bool { return spans[i].Began < spans[j].Began })
}
