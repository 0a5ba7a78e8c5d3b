package grammar

import (
	"container/list"
	"context"
	"crypto/sha256"
	"errors"
	"sync"
)

// How many grammars a Cache keeps, and how many refusals.
const (
	maxCached   = 64
	maxRefusals = 256
)

// Cache compiles grammars for one vocabulary and keeps those used last, and what
// was wrong with descriptions that have none. Any number of goroutines may use
// it.
type Cache struct {
	vocabulary func() *Vocabulary

	mu       sync.Mutex
	grammars recent[*Grammar] // guarded by mu
	refusals recent[*Error]   // guarded by mu
}

// NewCache makes a cache. The vocabulary is asked for when the first grammar
// is compiled.
func NewCache(vocabulary func() *Vocabulary) *Cache {
	return &Cache{
		vocabulary: sync.OnceValue(vocabulary),
		grammars:   recent[*Grammar]{most: maxCached},
		refusals:   recent[*Error]{most: maxRefusals},
	}
}

// Find is what is known of a description: its grammar, or the *Error that
// compiling it found. It does no work; known is false when Get would.
func (c *Cache) Find(s *Spec) (g *Grammar, known bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if g, ok := c.grammars.get(s.sum(false)); ok {
		return g, true, nil
	}
	if err, ok := c.refusals.get(s.sum(true)); ok {
		return nil, true, err
	}
	return nil, false, nil
}

// Get compiles a description unless it is known. Its error is an *Error, or the
// context's, of which nothing is kept.
func (c *Cache) Get(ctx context.Context, s *Spec) (*Grammar, error) {
	if g, known, err := c.Find(s); known {
		return g, err
	}
	g, err := Compile(ctx, s, c.vocabulary())
	c.mu.Lock()
	defer c.mu.Unlock()
	var fault *Error
	switch {
	case err == nil:
		c.grammars.put(s.sum(false), g)
	case errors.As(err, &fault):
		// An error's path is that of the description it was found in, so it is
		// kept for those alone that came from the same place.
		c.refusals.put(s.sum(true), fault)
	}
	return g, err
}

type sum [sha256.Size]byte

// sum stands for a description, with the places its parts came from or without.
func (s *Spec) sum(placed bool) (out sum) {
	h := sha256.New()
	s.writeKey(h, placed)
	h.Sum(out[:0])
	return out
}

// Key is the same for the same language described in the same way, of parts that
// came from the same places: for these a refusal is the same, too.
func (s *Spec) Key() string {
	key := s.sum(true)
	return string(key[:])
}

// recent keeps the values used last.
type recent[V any] struct {
	most    int
	entries map[sum]*list.Element // of used[V]
	order   list.List             // used last in front
}

type used[V any] struct {
	key   sum
	value V
}

func (r *recent[V]) get(key sum) (v V, ok bool) {
	at := r.entries[key]
	if at == nil {
		return v, false
	}
	r.order.MoveToFront(at)
	return at.Value.(used[V]).value, true
}

func (r *recent[V]) put(key sum, v V) {
	if r.entries == nil {
		r.entries = map[sum]*list.Element{}
	}
	if old := r.entries[key]; old != nil {
		r.order.Remove(old)
	}
	r.entries[key] = r.order.PushFront(used[V]{key, v})
	if r.order.Len() > r.most {
		last := r.order.Remove(r.order.Back()).(used[V])
		delete(r.entries, last.key)
	}
}
