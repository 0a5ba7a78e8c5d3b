package grammar

import (
	"container/list"
	"errors"
	"sync"
)

// maxCached is how many grammars a Cache keeps.
const maxCached = 64

// Cache compiles grammars for one vocabulary and keeps those used last. Any
// number of goroutines may use it.
type Cache struct {
	vocabulary func() *Vocabulary

	mu      sync.Mutex
	entries map[string]*list.Element // guarded by mu: of *entry
	order   list.List                // guarded by mu: used last in front
}

type entry struct {
	key     string
	once    sync.Once
	grammar *Grammar
	err     error
}

var errPanicked = errors.New("compiling the grammar panicked")

// NewCache makes a cache. The vocabulary is asked for when the first grammar
// is compiled.
func NewCache(vocabulary func() *Vocabulary) *Cache {
	return &Cache{vocabulary: sync.OnceValue(vocabulary), entries: map[string]*list.Element{}}
}

// Get compiles a description, once for many that ask at the same time. Its
// error is an *Error.
func (c *Cache) Get(s *Spec) (*Grammar, error) {
	key := s.Key()
	c.mu.Lock()
	at := c.entries[key]
	if at == nil {
		at = c.order.PushFront(&entry{key: key})
		c.entries[key] = at
		if c.order.Len() > maxCached {
			c.drop(c.order.Back())
		}
	}
	c.order.MoveToFront(at)
	e := at.Value.(*entry)
	c.mu.Unlock()
	e.once.Do(func() {
		e.err = errPanicked // unless it comes to an end
		e.grammar, e.err = Compile(s, c.vocabulary())
	})
	if e.err == nil {
		return e.grammar, nil
	}
	// An error's path is that of the description it was found in: it is not
	// kept for others.
	c.mu.Lock()
	if c.entries[key] == at {
		c.drop(at)
	}
	c.mu.Unlock()
	return nil, e.err
}

// drop takes an entry out; mu is held.
func (c *Cache) drop(at *list.Element) {
	c.order.Remove(at)
	delete(c.entries, at.Value.(*entry).key)
}
