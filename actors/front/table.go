package front

import "github.com/troupe-llm/troupe/actors/wire"

// table has the jobs that an engine has, by what engines call them.
type table struct {
	slots []slot
	free  []uint32 // vacant slots
}

// slot is a place in the table. Its epoch is that of the last job that was put there, or put
// there again, which may have left.
type slot struct {
	job   *job // nil: vacant
	epoch uint32
}

// find is the job that a ref names, nil when it has ended or was handed over again since.
func (t *table) find(r wire.Ref) *job {
	if int(r.Slot) >= len(t.slots) || t.slots[r.Slot].epoch != r.Epoch {
		return nil
	}
	return t.slots[r.Slot].job
}

// add puts a job into the table and names it.
func (t *table) add(j *job) {
	if len(t.free) == 0 {
		t.free = append(t.free, uint32(len(t.slots)))
		t.slots = append(t.slots, slot{})
	}
	last := len(t.free) - 1
	j.ref.Slot, j.placed = t.free[last], true
	t.free = t.free[:last]
	t.slots[j.ref.Slot].job = j
	t.renew(j)
}

// renew names a job anew: what is said of it by its last name is not heard any more.
func (t *table) renew(j *job) {
	s := &t.slots[j.ref.Slot]
	s.epoch++
	j.ref.Epoch = s.epoch
}

// remove takes a job out.
func (t *table) remove(j *job) {
	t.slots[j.ref.Slot].job = nil
	t.free = append(t.free, j.ref.Slot)
	j.placed = false
}
