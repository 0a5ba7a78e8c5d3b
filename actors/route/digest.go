package route

import (
	"sync"

	"github.com/troupe-llm/troupe/actors/plan"
	"github.com/troupe-llm/troupe/actors/wire"
)

// maxChanges is how many changes a digest remembers at most, for those who ask for what is new: who
// asks more rarely is told all.
const maxChanges = 1 << 14

// Digest is what an engine tells of its prefix tree. The engine's scheduler writes it, once a message;
// anyone reads it. The zero Digest is of an empty tree.
type Digest struct {
	mu sync.Mutex

	has map[uint64]struct{} // guarded by mu: pages in the tree, by hash
	seq uint64              // guarded by mu: changes ever made
	log []plan.PageChange   // guarded by mu: the last of them, up to number seq
}

// Apply takes note of what became of the tree.
func (d *Digest) Apply(c plan.Changes) {
	if !c.Cleared && len(c.Pages) == 0 {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.has == nil {
		d.has = map[uint64]struct{}{}
	}
	if c.Cleared {
		clear(d.has)
		d.seq, d.log = d.seq+1, d.log[:0] // one that nobody can be told of by itself
	}
	for _, p := range c.Pages {
		if p.Gone {
			delete(d.has, p.Hash)
		} else {
			d.has[p.Hash] = struct{}{}
		}
	}
	d.seq += uint64(len(c.Pages))
	d.log = append(d.log, c.Pages...)
	if n := len(d.log); n > maxChanges {
		d.log = append(d.log[:0], d.log[n-maxChanges/2:]...)
	}
}

// Since is what is new after so many changes.
func (d *Digest) Since(seq uint64) wire.Prefixes {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := wire.Prefixes{Seq: d.seq}
	if seq == d.seq {
		return p
	}
	if seq > d.seq || d.seq-seq > uint64(len(d.log)) {
		p.Whole = true
		for hash := range d.has {
			p.Pages = append(p.Pages, wire.Page{Hash: hash})
		}
		return p
	}
	for _, c := range d.log[uint64(len(d.log))-(d.seq-seq):] {
		p.Pages = append(p.Pages, wire.Page(c))
	}
	return p
}
