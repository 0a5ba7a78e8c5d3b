package responses

import (
	"container/list"
	"encoding/json"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/troupe-llm/troupe/http/internal/dialect"
	"github.com/troupe-llm/troupe/http/internal/dialect/field"
)

// Store keeps responses for a time, as many as its memory has room for: the
// oldest go first. Its methods may be called from any goroutine; a nil one keeps
// nothing.
type Store struct {
	most int64         // bytes
	keep time.Duration // from when it was put
	disk *directory    // nil: in memory alone

	mu   sync.Mutex
	byID map[string]*list.Element // of order; guarded by mu
	// order has *kept, the oldest first; guarded by mu. All are kept equally
	// long, so it is the order in which they expire, too.
	order *list.List
	used  int64 // bytes; guarded by mu
	// live are those that are being made in the background, as many as answers may be
	// under way; guarded by mu.
	live map[string]*kept

	logged atomic.Int64 // bytes of events, of live ones and of those in order
}

// NewStore keeps responses in so much memory, so long.
func NewStore(bytes int64, keep time.Duration) *Store {
	return &Store{most: bytes, keep: keep, byID: map[string]*list.Element{}, order: list.New(), live: map[string]*kept{}}
}

// In has the store keep responses in a directory, too, where they outlast the
// process: as many as so many bytes have room for. log is told what goes wrong
// with it later.
func (s *Store) In(dir string, bytes int64, log func(error)) (err error) {
	s.disk, err = openDirectory(dir, bytes, s.keep, log)
	return err
}

// kept is a response that is kept. It does not change.
type kept struct {
	id      string
	owner   string // who may ask for it; "": everyone
	expires time.Time
	object  []byte
	// The conversation: what was said before the request, in it, and then. Those
	// of responses that continue one another share what they have in common.
	before, input, output []field.Value

	background *dialect.Background // nil: its client waited for it, or another process made it
}

// live reports whether a response is still being made.
func (k *kept) live() bool { return k.background != nil && k.output == nil }

// conversation is all that was said.
func (k *kept) conversation() []field.Value {
	all := make([]field.Value, 0, len(k.before)+len(k.input)+len(k.output))
	return append(append(append(all, k.before...), k.input...), k.output...)
}

// itemOverhead is what an item takes beside its bytes, and one of before, whose
// bytes are another's.
const itemOverhead = 48

func (k *kept) size() int64 {
	n := len(k.object) + itemOverhead*(len(k.before)+len(k.input)+len(k.output)+4)
	for _, v := range k.input {
		n += len(v)
	}
	for _, v := range k.output {
		n += len(v)
	}
	return int64(n)
}

// put keeps a response from now on. One that is larger than the memory is not.
func (s *Store) put(k *kept, now time.Time) {
	if s == nil {
		return
	}
	k.expires = now.Add(s.keep)
	if k.background != nil && !s.ended(k.id) {
		return // it was deleted meanwhile
	}
	if s.disk != nil {
		s.disk.write(k, now)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(k, now)
}

// ended reports whether a response was being made, which it is no more.
func (s *Store) ended(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.live[id] != nil
	delete(s.live, id)
	return was
}

// begin keeps a response that is being made, until it is put.
func (s *Store) begin(k *kept) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.expires = time.Now().Add(s.keep)
	s.live[k.id] = k
}

// reserve takes room for events of responses that are being made, or gives it back.
func (s *Store) reserve(n int) bool {
	if s.logged.Add(int64(n)) > s.most && n > 0 {
		s.logged.Add(-int64(n))
		return false
	}
	return true
}

// insert is called with mu held.
func (s *Store) insert(k *kept, now time.Time) {
	size := k.size()
	if size > s.most {
		return
	}
	s.used += size
	s.byID[k.id] = s.order.PushBack(k)
	for e := s.order.Front(); e != nil && (s.used+s.logged.Load() > s.most || now.After(e.Value.(*kept).expires)); e = s.order.Front() {
		s.remove(e)
	}
}

// remove is called with mu held.
func (s *Store) remove(e *list.Element) {
	k := s.order.Remove(e).(*kept)
	delete(s.byID, k.id)
	s.used -= k.size()
	s.forgetEvents(k)
}

func (s *Store) forgetEvents(k *kept) {
	if k.background != nil {
		k.background.Log.Drop()
	}
}

// get is the response of this id, for who asks by the key of this name; nil:
// there is none for them.
func (s *Store) get(id, owner string, now time.Time) *kept {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.live[id]
	if e := s.byID[id]; e != nil {
		k = e.Value.(*kept)
	} else if k == nil && s.disk != nil {
		k = s.disk.read(id)
	}
	if k == nil || k.owner != owner || now.After(k.expires) {
		return nil
	}
	return k
}

// Ids of responses begin with responsePrefix. Those of the items that it made have the
// rest of its id in theirs, between a prefix of their own and a number.
const responsePrefix = "resp_"

// item is what a response made under this id, if that is kept for who asks; nil: it
// is not.
func (s *Store) item(id, owner string) field.Value {
	_, rest, _ := strings.Cut(id, "_")
	response, _, numbered := strings.Cut(rest, "_")
	if !numbered {
		return nil
	}
	k := s.get(responsePrefix+response, owner, time.Now())
	if k == nil {
		return nil
	}
	for _, v := range k.output {
		if membersOf(v).text("id") == id {
			return v
		}
	}
	return nil
}

// Delete forgets a response, and reports whether there was one.
func (s *Store) Delete(id, owner string) bool {
	k := s.get(id, owner, time.Now())
	if k == nil {
		return false
	}
	if k.live() {
		defer k.background.Cancel()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.live[id]; k != nil {
		delete(s.live, id)
		s.forgetEvents(k)
	}
	if e := s.byID[id]; e != nil {
		s.remove(e)
	}
	if s.disk != nil {
		s.disk.remove(id)
	}
	return true
}

// record is a response in a file.
type record struct {
	Owner   string            `json:"owner,omitempty"`
	Expires time.Time         `json:"expires"`
	Object  json.RawMessage   `json:"object"`
	Before  []json.RawMessage `json:"before,omitempty"`
	Input   []json.RawMessage `json:"input"`
	Output  []json.RawMessage `json:"output"`
}

func recordOf(k *kept) record {
	return record{k.owner, k.expires, k.object, rawOf(k.before), rawOf(k.input), rawOf(k.output)}
}

func (r *record) kept(id string) *kept {
	return &kept{id: id, owner: r.Owner, expires: r.Expires, object: r.Object, before: valuesOf(r.Before), input: valuesOf(r.Input), output: valuesOf(r.Output)}
}

func rawOf(values []field.Value) []json.RawMessage {
	all := make([]json.RawMessage, len(values))
	for i, v := range values {
		all[i] = json.RawMessage(v)
	}
	return all
}

func valuesOf(raw []json.RawMessage) []field.Value {
	all := make([]field.Value, len(raw))
	for i, v := range raw {
		all[i] = field.Value(v)
	}
	return all
}
