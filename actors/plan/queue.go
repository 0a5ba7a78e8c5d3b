package plan

// queue holds the requests that wait. Whose turn it is, is decided between
// clients first: the one goes that was served least. So who sends a thousand
// requests delays another's by one of them. Within a client the order is that of
// (rank, begun elsewhere or not, arrival).
//
// It is the virtual token counter of Sheng et al., "Fairness in Serving Large
// Language Models" (2024): what a client was served is known as it is, without
// guessing the lengths of outputs. A client that comes begins where the last one
// stands that was seated: what others were served while it was away is no debt of
// theirs, and as that point moves on with whoever is seated, clients that keep
// coming cannot hold up one that stays. One that has gone is forgotten.
type queue struct {
	clients map[string]*client // that have requests which have not ended
	waiting heap[*client]      // of those, that have requests here
	n       int                // requests here
	now     int64              // served to the client that was seated last, or more
}

// client is who sends requests.
type client struct {
	name    string
	open    int            // requests that have not ended
	running int            // of those, in state running
	waiting heap[*Request] // of those, here
	served  int64          // see prefilled and drawn
	at      int            // index in the queue while any wait
}

// What serving a client is reckoned at: each token of a prompt that is computed as
// one, each that is drawn as two. In full steps a row that draws takes about as much
// of the device as two tokens of prefill, and the paper says the same.
const (
	prefilled = 1
	drawn     = 2
)

func (q *queue) len() int { return q.n }

// join finds the client of a request that was added.
func (q *queue) join(name string) *client {
	c := q.clients[name]
	if c == nil {
		c = &client{name: name, served: q.now}
		q.clients[name] = c
	}
	c.open++
	return c
}

// left notes that a request of c has ended.
func (q *queue) left(c *client) {
	if c.open--; c.open == 0 {
		delete(q.clients, c.name)
	}
}

func (q *queue) push(r *Request) {
	c := r.client
	c.waiting.push(r)
	if q.n++; len(c.waiting) == 1 {
		q.waiting.push(c)
	} else {
		q.waiting.fix(c.at)
	}
}

func (q *queue) remove(r *Request) {
	c := r.client
	c.waiting.remove(r)
	if q.n--; len(c.waiting) == 0 {
		q.waiting.remove(c)
	} else {
		q.waiting.fix(c.at)
	}
}

// order has the queue see what clients were served since the last call.
func (q *queue) order() { q.waiting.order() }

// first is whose turn it is.
func (q *queue) first() *Request { return q.waiting[0].waiting[0] }

func (q *queue) pop() *Request {
	r := q.first()
	q.remove(r)
	return r
}

// about are n requests that go soon, in no order.
func (q *queue) about(n int, yield func(*Request)) {
	for depth := 0; n > 0 && depth < q.n; depth++ {
		for _, c := range q.waiting {
			if n > 0 && depth < len(c.waiting) {
				yield(c.waiting[depth])
				n--
			}
		}
	}
}

// seated charges a client for the tokens that one of its requests, seated for the
// first time, has to compute.
func (q *queue) seated(c *client, tokens int) {
	c.served += int64(tokens) * prefilled
	if q.now = max(q.now, c.served); len(c.waiting) > 0 {
		q.waiting.fix(c.at)
	}
}

func (c *client) place() *int { return &c.at }

func (c *client) before(o *client) bool {
	return c.served < o.served || (c.served == o.served && c.waiting[0].before(o.waiting[0]))
}

func (r *Request) place() *int { return &r.at }

// begun reports whether some of the output was drawn elsewhere.
func (r *Request) begun() bool { return len(r.Given) > 0 }

func (r *Request) before(o *Request) bool {
	switch {
	case r.rank != o.rank:
		return r.rank < o.rank
	case r.begun() != o.begun(): // someone reads it already: it goes on where another planner was lost
		return r.begun()
	}
	return r.arrival < o.arrival
}
