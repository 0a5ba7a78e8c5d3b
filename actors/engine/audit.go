package engine

import "fmt"

// Audit says what an actor holds though no request is open. It is for simulations, which see to it that
// nothing is going on.

// Audit is the scheduler's.
func (s *scheduler) Audit() error {
	if len(s.jobs) > 0 {
		return fmt.Errorf("%d jobs are left", len(s.jobs))
	}
	if s.state != Ready { // the planner is reset with the next device
		return nil
	}
	if st := s.plan.Stats(); st.Waiting+st.Running+st.Outstanding+st.PagesUsed > 0 {
		return fmt.Errorf("the planner holds something: %v, %d outstanding", st, st.Outstanding)
	}
	return s.plan.Audit()
}

// Audit is that of grammars.
func (g *grammars) Audit() error {
	if len(g.wanted)+len(g.of)+g.turns.Clients() > 0 || len(g.idle) == 0 {
		return fmt.Errorf("%d grammars are wanted by %d requests of %d clients; %d compilers have nothing to do", len(g.wanted), len(g.of), g.turns.Clients(), len(g.idle))
	}
	return nil
}
