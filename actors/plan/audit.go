package plan

// Audit recounts all that is counted and reports the first difference, for simulations: the invariants
// that a build tag has checked between calls.
func (p *Planner) Audit() error { return p.audit() }
