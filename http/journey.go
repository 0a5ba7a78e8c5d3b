package http

import (
	"cmp"
	"strconv"
	"sync"
	"time"

	"github.com/troupe-llm/troupe/actors"
)

// journey is an answer's way through the actors, kept for a while so that
// the playground can draw it.
type journey struct {
	id           string // of the request
	begun, ended time.Time
	finish       string
	usage        actors.Usage
	times        actors.Times     // of the first choice
	attempts     []actors.Attempt // of the first choice, where engines are elsewhere
	marks        marks            // of the first choice
}

// journeys are those of the last requests that ended. Any goroutine may use
// them.
type journeys struct {
	mu   sync.Mutex
	last [32]*journey // guarded by mu; nil: not yet
	next int          // guarded by mu; the oldest, whose place is taken next
}

// keep notes an answer that has just ended.
func (j *journeys) keep(one *journey) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last[j.next] = one
	j.next = (j.next + 1) % len(j.last)
}

// find is the journey of a request, the latest of that id; nil when it is not
// kept.
func (j *journeys) find(s *Server, id string) *journeyBody {
	j.mu.Lock()
	defer j.mu.Unlock()
	for i := range j.last {
		one := j.last[(j.next-1-i+2*len(j.last))%len(j.last)]
		if one != nil && one.id == id {
			return one.body(s)
		}
	}
	return nil
}

// marks are when tokens of one text were computed and taken from the engine:
// of all, or of every stride-th when there are many. The zero value is empty.
type marks struct {
	kept   [64]mark
	n      int // of kept
	stride int // tokens from a mark to the next; 0: not begun
	seen   int // tokens
}

type mark struct {
	number          int   // of the token, from 1
	computed, taken int64 // as batch.Now
}

// add notes n tokens that came together. When there is no room, every second
// mark is forgotten.
func (m *marks) add(n int, computed, taken int64) {
	first := m.seen + 1
	m.seen += n
	m.stride = max(m.stride, 1)
	if m.n > 0 && first-m.kept[m.n-1].number < m.stride {
		return
	}
	if m.n == len(m.kept) {
		for i := range m.n / 2 {
			m.kept[i] = m.kept[2*i]
		}
		m.n /= 2
		m.stride *= 2
	}
	m.kept[m.n] = mark{first, computed, taken}
	m.n++
}

// journeyBody is a journey in /stats. Times are seconds since the request came.
type journeyBody struct {
	ID         string      `json:"id"`
	Finish     string      `json:"finish_reason"`
	Prompt     int         `json:"prompt_tokens"`
	Cached     int         `json:"cached_tokens"` // of those, found in the prefix cache
	Completion int         `json:"completion_tokens"`
	Took       float64     `json:"took_seconds"` // until its last byte was written
	Stages     []stageBody `json:"stages"`
	Tokens     []markBody  `json:"tokens"` // some of them, evenly spaced
	// Engines are those on other hosts, or the several, that had it, one after the other.
	Engines []attemptBody `json:"engines,omitempty"`
}

// attemptBody is what one engine did for a request.
type attemptBody struct {
	Name   string  `json:"name"` // where it is, or its number
	Began  float64 `json:"began_seconds"`
	Ended  float64 `json:"ended_seconds"`
	Lost   bool    `json:"lost"`
	Tokens int     `json:"tokens"`
	Clock  float64 `json:"clock_error_seconds"` // how far times that it told may be off
}

// stageBody is a part of the time, and whose it was.
type stageBody struct {
	Actor string  `json:"actor"`
	Name  string  `json:"name"`
	Began float64 `json:"began_seconds"`
	Ended float64 `json:"ended_seconds"`
}

// markBody is a token on its way.
type markBody struct {
	Number   int     `json:"number"`
	Computed float64 `json:"computed_seconds"` // by the device
	Taken    float64 `json:"taken_seconds"`    // to be written
}

// stageActors says who works on a request in each of its phases.
var stageActors = map[actors.Kind]string{
	actors.SpanTokenize: "tokenizer", actors.SpanQueue: "scheduler", actors.SpanPrefill: "executor", actors.SpanDecode: "executor",
}

func (j *journey) body(s *Server) *journeyBody {
	since := func(now int64) float64 { return s.wall(now).Sub(j.begun).Seconds() }
	b := &journeyBody{
		ID: j.id, Finish: j.finish, Prompt: j.usage.PromptTokens, Cached: j.usage.CachedTokens,
		Completion: j.usage.CompletionTokens, Took: j.ended.Sub(j.begun).Seconds(),
		Stages: []stageBody{}, Tokens: []markBody{},
	}
	phases := j.times.Phases()
	if len(phases) > 0 {
		b.Stages = append(b.Stages, stageBody{"http", "read", 0, since(phases[0].Began)})
	}
	if len(j.attempts) > 0 && len(phases) > 0 && phases[0].Kind == actors.SpanTokenize {
		if handed := j.attempts[0].Handed; handed < phases[0].Ended { // the rest is its way to the engine
			b.Stages = append(b.Stages, stageBody{stageActors[actors.SpanTokenize], actors.SpanTokenize.String(), since(phases[0].Began), since(handed)},
				stageBody{"front", "forward", since(handed), since(phases[0].Ended)})
			phases = phases[1:]
		}
	}
	for _, p := range phases {
		b.Stages = append(b.Stages, stageBody{stageActors[p.Kind], p.Kind.String(), since(p.Began), since(p.Ended)})
	}
	if len(phases) > 0 {
		b.Stages = append(b.Stages, stageBody{"http", "write", since(phases[len(phases)-1].Ended), b.Took})
	}
	for i := range j.attempts {
		a := &j.attempts[i]
		name := cmp.Or(a.Peer, strconv.Itoa(a.Engine))
		b.Engines = append(b.Engines, attemptBody{name, since(a.Handed), since(a.Left), a.Lost, a.Tokens, a.ClockError.Seconds()})
	}
	for _, m := range j.marks.kept[:j.marks.n] {
		b.Tokens = append(b.Tokens, markBody{m.number, since(m.computed), since(m.taken)})
	}
	return b
}
