package bench

import (
	"fmt"
	"strconv"

	"github.com/troupe-llm/troupe/actors"
)

// trackID is a track: what the format calls a process and a thread.
type trackID struct {
	pid int
	tid uint64
}

// The processes, in the order they are shown.
const (
	pidAbout = 1 + iota
	pidActors
	pidDevice
	pidRequests
)

// Threads' numbers are apart, also those of different processes.
const (
	tidAbout    = 1
	tidActors   = 10
	tidDevice   = 1000
	tidMasks    = 1001
	tidIdle     = 1002
	tidRanks    = 1003
	tidEngine   = 4096 // from one engine's to the next one's
	tidRequests = 1 << 21
)

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
	case actors.TrackAPI, actors.TrackRequests, actors.TrackSocket: // who submits is seen on the request
		return trackID{pidRequests, tidRequests + request}
	case actors.TrackDevice:
		return trackID{pidDevice, tidDevice + tidEngine*uint64(engine)}
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

// names gives processes and tracks their names and an order: the way a request
// takes.
func (p *perfetto) names() {
	for i, name := range []string{"about", "actors", "device", "requests"} {
		p.event(`"ph":"M","pid":%d,"name":"process_name","args":{"name":%q}`, i+1, name)
		p.event(`"ph":"M","pid":%d,"name":"process_sort_index","args":{"sort_index":%d}`, i+1, i)
	}
	for _, id := range p.ids() {
		name, at := "", id.tid
		switch id.pid {
		case pidAbout:
			name = "this trace"
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
			case of == tidIdle:
				name = "idle"
			case of >= tidRanks:
				name = TrackName(actors.TrackRank + actors.Track(of-tidRanks))
			}
			if engine := id.tid / tidEngine; engine > 0 {
				name = fmt.Sprintf("engine %d: %s", engine, name)
			}
		case pidRequests:
			name, at = fmt.Sprintf("request %d", id.tid-tidRequests), id.tid-tidRequests
		}
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_name","args":{"name":%q}`, id.pid, id.tid, name)
		p.event(`"ph":"M","pid":%d,"tid":%d,"name":"thread_sort_index","args":{"sort_index":%d}`, id.pid, id.tid, at)
	}
}

// name is what the slice is called.
func (p *perfetto) name(s *slice) string {
	if s.label != "" {
		return s.label
	}
	switch kind := s.span.Kind; kind {
	case actors.SpanSocket:
		return "write"
	case actors.SpanCompute:
		return p.warm(s) + stepName(s.span)
	case actors.SpanPrepare, actors.SpanLaunch, actors.SpanCommit, actors.SpanTokenize, actors.SpanQueue, actors.SpanPrefill, actors.SpanDecode:
		return p.warm(s) + kind.String()
	case actors.SpanEngine, actors.SpanEngineLost:
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

// warm marks what was done to warm up.
func (p *perfetto) warm(s *slice) string {
	if s.span.Began < p.rec.Warmed {
		return "warm-up: "
	}
	return ""
}

// stepName is a step by its kind and rows: "decode 64", "prefill 2 x 512 + decode 30"; of rows of several
// lengths all tokens are told: "prefill 3 rows, 1000 tokens".
func stepName(s *actors.Span) string {
	rows, name := int(s.N)-int(s.Decode), ""
	switch {
	case rows > 0 && s.Even:
		name = fmt.Sprintf("prefill %d x %d", rows, int(s.Prefill)/rows)
	case rows > 0:
		name = fmt.Sprintf("prefill %d rows, %d tokens", rows, s.Prefill)
	}
	if s.Decode == 0 && rows > 0 {
		return name
	}
	if name != "" {
		name += " + "
	}
	return name + "decode " + strconv.Itoa(int(s.Decode))
}
