package front

import (
	"sync"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/troupe-llm/troupe/actors/internal/shell"
	"github.com/troupe-llm/troupe/actors/internal/turns"
)

// pool has the jobs whose prompts are to be encoded. A tokenizer gets the next one when it has nothing to
// do, of each client in turn: so a long prompt holds up nobody while another tokenizer has none, and who
// sends many of them delays another's by one. It may be used from any goroutine.
type pool struct {
	mail shell.Mail

	mu      sync.Mutex
	idle    []*actor.PID      // guarded by mu: tokenizers that have nothing to do
	waiting turns.Queue[*job] // guarded by mu; empty while any is idle
}

// submit has a job's prompt encoded.
func (p *pool) submit(j *job) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting.Push(j.req.Client, j)
	p.begin()
}

// rest notes that a tokenizer has nothing to do.
func (p *pool) rest(tokenizer *actor.PID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, tokenizer)
	p.begin()
}

// begin has idle tokenizers encode what waits. Called with mu held.
func (p *pool) begin() {
	for last := len(p.idle) - 1; last >= 0; last-- {
		j, ok := p.waiting.Pop()
		if !ok {
			return
		}
		p.mail.Send(p.idle[last], &tokenizeJob{job: j})
		p.idle = p.idle[:last]
	}
}
