// Package ngram drafts how a sequence of tokens goes on: as it did after the last
// place where it had the same last few tokens (prompt lookup). It is pure, and needs
// no model: text that is edited, quoted or written by a pattern repeats itself.
package ngram

// A gram is so many tokens in a row. The longest that is found is what counts.
const (
	Shortest = 2
	Longest  = 4
)

// Index finds in a sequence that only grows where its last tokens were before. The
// zero value is one of an empty sequence. It keeps positions alone, at most 12 to 24
// bytes for each gram that differs from the others; the sequence it is shown each time.
type Index struct {
	tables [Longest - Shortest + 1]table // of grams of Shortest tokens, and so on
	read   int                           // tokens that are indexed
}

// Read takes in tokens[:n] of the sequence, as far as it has not. Each takes a few
// steps, whatever was read before, but for growing.
func (x *Index) Read(tokens []int32, n int) {
	for ; x.read < n; x.read++ {
		for i := range x.tables {
			if long := Shortest + i; x.read >= long { // a gram that something follows
				x.tables[i].put(tokens, x.read, long)
			}
		}
	}
}

// Indexed is how many tokens were read.
func (x *Index) Indexed() int { return x.read }

// Find is the position in the sequence, all of which was read, of what followed its
// longest last gram when that was there last, and how long the gram is; 0: it was not.
func (x *Index) Find(tokens []int32) (at, long int) {
	for long = min(Longest, len(tokens)); long >= Shortest; long-- {
		if at := x.tables[long-Shortest].get(tokens, len(tokens), long); at > 0 {
			return at, long
		}
	}
	return 0, 0
}

// Draft appends n tokens that follow, if they are those from position at on: over
// again where these reach the end.
func Draft(draft, tokens []int32, at, n int) []int32 {
	from := len(draft)
	for i := range n {
		if at+i < len(tokens) {
			draft = append(draft, tokens[at+i])
		} else {
			draft = append(draft, draft[from+i-(len(tokens)-at)])
		}
	}
	return draft
}

// table is a hash table with open addressing of the grams of one length. It has for
// each the position behind where it was last: the gram itself stands before that.
type table struct {
	slots []int32 // 0: empty. Invariant: a power of two, at most half of it taken
	taken int
}

// find is the slot of the gram that ends before a position, or the empty one where it
// belongs.
func (t *table) find(tokens []int32, end, long int) *int32 {
	gram := tokens[end-long : end]
	h := uint64(0)
	for _, token := range gram {
		h = (h ^ uint64(uint32(token))) * 0x9e3779b97f4a7c15
		h ^= h >> 32
	}
	for i := int(h) & (len(t.slots) - 1); ; i = (i + 1) & (len(t.slots) - 1) {
		if at := &t.slots[i]; *at == 0 || same(tokens[int(*at)-long:], gram) {
			return at
		}
	}
}

// same reports whether a begins with gram.
func same(a, gram []int32) bool {
	for i, token := range gram {
		if a[i] != token {
			return false
		}
	}
	return true
}

func (t *table) get(tokens []int32, end, long int) int {
	if t.taken == 0 {
		return 0
	}
	return int(*t.find(tokens, end, long))
}

func (t *table) put(tokens []int32, end, long int) {
	if 2*t.taken >= len(t.slots) {
		t.grow(tokens, long)
	}
	at := t.find(tokens, end, long)
	if *at == 0 {
		t.taken++
	}
	*at = int32(end)
}

// least is how many slots a table begins with.
const least = 64

func (t *table) grow(tokens []int32, long int) {
	old := t.slots
	t.slots = make([]int32, max(least, 2*len(old)))
	for _, end := range old {
		if end > 0 {
			*t.find(tokens, int(end), long) = end
		}
	}
}
