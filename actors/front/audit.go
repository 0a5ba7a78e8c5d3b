package front

import (
	"errors"
	"fmt"
	"slices"
)

// Audit says what an actor holds though no request is open. It is for simulations, which see to it that
// nothing is going on.

// Audit is the detokenizer's.
func (d *detokenizer) Audit() (err error) {
	if held := len(d.table.slots) - len(d.table.free); held > 0 {
		err = fmt.Errorf("%d jobs are in the table", held)
	}
	for i := range d.router.targets {
		if open, owed := d.router.Load(i); open != 0 || owed != 0 {
			err = errors.Join(err, fmt.Errorf("engine %d is believed to have %d requests, with %d tokens to compute", i, open, owed))
		}
	}
	return err
}

// Audit is a tokenizer's.
func (t *tokenizer) Audit() error {
	p := t.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := p.waiting.Clients(); n != 0 || !slices.Contains(p.idle, t.self) {
		return fmt.Errorf("prompts of %d clients wait for a tokenizer; %d are idle", n, len(p.idle))
	}
	return nil
}
